"""Pictures of the motion benchmark: its clips, and accuracies on them."""
from collections.abc import Mapping
from pathlib import Path

import bench_clips
from experiment import CURVE, Study
from matplotlib.figure import Figure

from selfy_mmaction.visualization.charts import save


def draw_accuracies(study: Study, path: Path) -> None:
    """Draw accuracy against displacement, a curve per network."""
    figure = Figure((7, 4), layout='constrained')
    axes = figure.subplots()
    for name in study.names():
        x, y = study.curve(name)
        line, = axes.plot(x, y.mean(0), marker='o', label=name)
        axes.fill_between(
            x, y.min(0), y.max(0), color=line.get_color(), alpha=0.15)
    for split in CURVE:
        low, high = bench_clips.SPLITS[split].displacement
        axes.axvspan(low, high, color='0.95', zorder=0)
        axes.text((low + high) / 2, 101.5, split, ha='center')
    chance = 100 / len(bench_clips.CLASSES)
    axes.axhline(chance, color='0.5', linestyle=':')
    axes.text(6.05, chance, 'chance', va='bottom', color='0.5')
    axes.set(
        xlabel='displacement per frame (cells)',
        ylabel='accuracy (%)',
        xlim=(0, 6.6),
        ylim=(0, 108))
    axes.spines[['top', 'right']].set_visible(False)
    figure.legend(loc='outside lower center', ncols=2, frameon=False)
    save(figure, path)


def draw_costs(study: Study, milliseconds: Mapping[str, float],
               path: Path) -> None:
    """Draw accuracy on all splits against time, a point per network."""
    figure = Figure((7, 4), layout='constrained')
    axes = figure.subplots()
    clips = [
        clip for split in bench_clips.SPLITS for clip in study.clips[split]
    ]
    for name in study.names():
        y = study.accuracies(name, clips)
        axes.errorbar(
            milliseconds[name],
            y.mean(), [[y.mean() - y.min()], [y.max() - y.mean()]],
            fmt='o',
            capsize=3,
            label=name)
    axes.set(
        xlabel='time per clip (ms)',
        ylabel='accuracy on all splits (%)',
        xlim=(0, 1.1 * max(milliseconds.values())))
    axes.spines[['top', 'right']].set_visible(False)
    figure.legend(loc='outside right upper', frameon=False)
    save(figure, path)


def draw_splits(study: Study, path: Path, label: int = 0) -> None:
    """Draw the frames of a clip of each split, a column per split."""
    figure = Figure((10, 4.2), layout='constrained')
    rows = bench_clips.FRAMES
    grid = figure.subplots(rows, len(bench_clips.SPLITS), squeeze=False)
    for split, column in zip(bench_clips.SPLITS, grid.T, strict=True):
        clip = next(clip for clip in study.clips[split] if clip.label == label)
        frames = bench_clips.render_frames(clip)
        for axes, frame in zip(column, frames, strict=True):
            axes.imshow(frame)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        column[0].set_title(split, fontsize=10)
    for i, axes in enumerate(grid[:, 0]):
        axes.set_ylabel(f'{i}', rotation=0, va='center', labelpad=8)
    figure.suptitle(list(bench_clips.CLASSES)[label], fontsize=11)
    save(figure, path)
