"""Pictures of trainings, tests and predictions."""
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from scipy.cluster import hierarchy

from ..apis.sliding import Segment
from ..evaluation.confusions import Confusion
from ..evaluation.logs import Curve
from ..files import replaced_when_done
from . import fonts

# Maximum rows of a timeline, and maximum classes of a confusion matrix with
# numbers in its cells.
_MAX_ROWS = 12
_MAX_NUMBERS = 20
# Clips per confusion, and frames per clip.
_CLIPS = 3
_FRAMES = 4


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure atomically, in fonts that have its letters."""
    for axes in figure.axes:
        # Ticks get their texts on demand.
        axes.get_xticklabels(), axes.get_yticklabels()
    for text in figure.findobj(Text):
        font = fonts.find_font(text.get_text())
        if font != fonts.DEFAULT:
            text.get_fontproperties().set_file(font)
    with warnings.catch_warnings(), replaced_when_done(path) as unfinished:
        # find_font has warned of them
        warnings.filterwarnings('ignore', 'Glyph .* missing from font')
        figure.savefig(unfinished, dpi=100, bbox_inches='tight')


def _wrap(name: str, width: int = 45) -> str:
    return textwrap.fill(name, width)


def _keep_left_and_bottom(axes: Axes) -> None:
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(axis='y', color='0.9')
    axes.set_axisbelow(True)


def _color(index: int) -> tuple:
    colors = colormaps['tab10'].colors
    return colors[index % len(colors)]


def draw_training(runs: Mapping[str, Mapping[str, Curve]], keys: Sequence[str],
                  path: str) -> None:
    """Draw the curves of logged values, a panel per value.

    Args:
        runs (Mapping[str, Mapping[str, Curve]]): Name of a training -> its
            logged values.
        keys (Sequence[str]): The values to draw.
        path (str): The picture to write.
    """
    figure = Figure((6.4 * len(keys), 4), layout='constrained')
    panels = figure.subplots(1, len(keys), squeeze=False)[0]
    for axes, key in zip(panels, keys, strict=True):
        _keep_left_and_bottom(axes)
        for i, curves in enumerate(runs.values()):
            if key in curves:
                curve = curves[key]
                few = len(curve.steps) < 30
                axes.plot(
                    curve.steps,
                    curve.values,
                    color=_color(i),
                    marker='o' if few else None,
                    markersize=4)
                axes.set(title=key, xlabel=curve.unit)
                axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles = [
        panels[0].plot([], color=_color(i), label=name)[0]
        for i, name in enumerate(runs)
    ]
    figure.legend(handles=handles, loc='outside lower center')
    save(figure, path)


def draw_timeline(segments: Sequence[Segment],
                  source: str,
                  path: str | Path,
                  width: float = 10) -> None:
    """Draw the probabilities of the best classes over time.

    Args:
        segments (Sequence[Segment]): The segments of a video, in order.
        source (str): The video; its name is the title.
        path (str | Path): The picture to write.
        width (float): Of the chart in inches. Defaults to 10.
    """
    scores = {}
    for i, segment in enumerate(segments):
        for found in segment.predictions:
            row = scores.setdefault(found['name'], np.zeros(len(segments)))
            row[i] = found['score']
    names = sorted(scores, key=lambda name: -scores[name].sum())[:_MAX_ROWS]
    # the first to appear on top
    names.sort(key=lambda name: scores[name].argmax())
    middles = np.array([s.start + s.end for s in segments]) / 2
    edges = [
        segments[0].start, *(middles[1:] + middles[:-1]) / 2, segments[-1].end
    ]
    figure = Figure((width, 1.2 + 0.5 * len(names)), layout='constrained')
    figure.suptitle(_wrap(Path(source).name, round(9 * width)))
    rows = figure.subplots(
        len(names), sharex=True, sharey=True, squeeze=False)[:, 0]
    for i, (axes, name) in enumerate(zip(rows, names, strict=True)):
        axes.stairs(scores[name], edges, fill=True, color=_color(i))
        axes.set_ylabel(
            _wrap(name), rotation=0, ha='right', va='center', size=10)
        axes.yaxis.tick_right()
        axes.tick_params('y', labelsize=7)
        axes.spines[['top', 'left']].set_visible(False)
    rows[0].set(
        xlim=(edges[0], edges[-1]),
        ylim=(0, 1),
        yticks=[0, .5, 1],
        yticklabels=['0', '', '1'])
    rows[0].set_title('probability', size=8, loc='right')
    rows[-1].set_xlabel('seconds')
    save(figure, path)


def draw_class_bars(matrix: np.ndarray, classes: Sequence[str],
                    path: str) -> None:
    """Draw the accuracy of each class as a bar, the best on top.

    Args:
        matrix (np.ndarray): The confusion matrix, [K, K].
        classes (Sequence[str]): The names of the classes.
        path (str): The picture to write.
    """
    counts = matrix.sum(1)
    tested = np.flatnonzero(counts)
    accuracies = 100 * matrix.diagonal()[tested] / counts[tested]
    order = np.argsort(accuracies, kind='stable')
    figure = Figure((8, 1 + 0.2 * len(tested)))
    axes = figure.subplots()
    bars = axes.barh(range(len(tested)), accuracies[order], color=_color(0))
    axes.bar_label(bars, fmt='%.1f', padding=3, size=7)
    axes.set(
        title=f'accuracy in %, {accuracies.mean():.2f} on average of classes',
        xlim=(0, 100),
        ylim=(-0.6, len(tested) - 0.4),
        yticks=range(len(tested)))
    axes.set_yticklabels(
        [f'{classes[i]} ({counts[i]})' for i in tested[order]], size=7)
    axes.spines[['top', 'right']].set_visible(False)
    save(figure, path)


def draw_confusion_matrix(matrix: np.ndarray, classes: Sequence[str],
                          path: str) -> None:
    """Draw a confusion matrix, as percentages of the samples of a class.

    Classes that are confused with each other are side by side.

    Args:
        matrix (np.ndarray): The confusion matrix, [K, K].
        classes (Sequence[str]): The names of the classes.
        path (str): The picture to write.
    """
    order = order_by_confusion(matrix)
    shares = 100 * matrix / matrix.sum(1, keepdims=True).clip(1)
    shares = shares[order][:, order]
    # room for a line of text per class
    side = max(7, 0.18 * len(matrix))
    figure = Figure((side, side))
    axes = figure.subplots()
    # What never happens is white, and the rest on a linear scale.
    image = axes.pcolormesh(
        np.ma.masked_equal(shares, 0),
        cmap=LinearSegmentedColormap.from_list('', ['#d3e4f3', '#08306b']),
        vmin=0,
        vmax=100,
        edgecolors='white',
        linewidth=1)
    if len(matrix) <= _MAX_NUMBERS:
        for (i, j), share in np.ndenumerate(shares):
            if share:
                axes.text(
                    j + .5,
                    i + .5,
                    f'{share:.0f}',
                    color='white' if share > 50 else 'black',
                    size=6,
                    ha='center',
                    va='center')
    names = [classes[i] for i in order]
    places = np.arange(len(names)) + .5
    axes.set_xticks(places, names, size=7, rotation=90)
    axes.set_yticks(places, names, size=7)
    axes.set(xlabel='found class', ylabel='true class', aspect='equal')
    axes.invert_yaxis()
    # an inch long, however many classes there are
    figure.colorbar(
        image, label='% of the true class', shrink=min(1, 4 / side), aspect=15)
    save(figure, path)


def order_by_confusion(matrix: np.ndarray) -> np.ndarray:
    """Put classes that are confused with each other side by side.

    Args:
        matrix (np.ndarray): The confusion matrix, [K, K].

    Returns:
        np.ndarray: The classes in that order, [K].
    """
    if len(matrix) < 3:
        return np.arange(len(matrix))
    shares = matrix / matrix.sum(1, keepdims=True).clip(1)
    likeness = shares + shares.T
    rows, columns = np.triu_indices(len(matrix), 1)
    tree = hierarchy.linkage(
        2 - likeness[rows, columns], 'average', optimal_ordering=True)
    return hierarchy.leaves_list(tree)


def draw_confusions(confusions: Sequence[Confusion], classes: Sequence[str],
                    show: Callable[[int], tuple[np.ndarray,
                                                str]], path: str) -> None:
    """Draw clips that were predicted as another class, a row per confusion.

    Args:
        confusions (Sequence[Confusion]): The confusions.
        classes (Sequence[str]): The names of the classes.
        show (Callable): Returns the frames of a clip by its index, RGB of
            type uint8, [T, H, W, 3], and a line to write below.
        path (str): The picture to write.
    """
    rows = []
    for confusion in confusions:
        clips = [show(i) for i in confusion.clips[:_CLIPS]]
        strips = [(_to_strip(frames), line) for frames, line in clips]
        rows.append(strips)
    height, width = rows[0][0][0].shape[:2]
    figure = Figure((4 * _CLIPS, len(rows) * (4 * height / width + 0.7)),
                    layout='constrained')
    parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for part, confusion, strips in zip(parts, confusions, rows, strict=True):
        truth, found = (classes[i] for i in (confusion.truth, confusion.found))
        part.suptitle(
            f'{truth}, taken for: {found} ({len(confusion.clips)} of '
            f'{confusion.total})',
            x=0.01,
            ha='left',
            size=11)
        for axes in part.subplots(1, _CLIPS, squeeze=False)[0]:
            axes.set_axis_off()
        for axes, (strip, line) in zip(part.axes, strips, strict=False):
            axes.imshow(strip)
            axes.set_title(line, size=8, loc='left', pad=3)
    save(figure, path)


def _to_strip(frames: np.ndarray) -> np.ndarray:
    """Put some of the frames in a row, [T, H, W, 3] => [H, W', 3]."""
    chosen = np.linspace(0, len(frames) - 1, _FRAMES).round().astype(int)
    # a white line between them
    frames = np.pad(
        frames[chosen], [(0, 0), (0, 0), (0, 2), (0, 0)], constant_values=255)
    return np.concatenate(frames, axis=1)
