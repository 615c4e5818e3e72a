"""Tables and pictures of the results."""
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from selfy_mmaction.evaluation.tables import format_mean, format_table
from selfy_mmaction.files import write_text
from selfy_mmaction.visualization.charts import save

# Set -> its title, and the classes that the movement alone tells apart.
SETS = {
    'msr_action3d':
    ('MSR-Action3D',
     ['draw x', 'draw tick', 'draw circle', 'high throw', 'hammer']),
    # The lips close, or the tongue strikes, or they round, in the same way.
    'avletters': ('AVLetters', ['B', 'P', 'D', 'T', 'Q', 'U']),
    'miracl_words': ('MIRACL-VC1, words', []),
}
TASKS = dict(
    classes='classes',
    direction='forwards or backwards',
    few_7='classes from 7 clips each',
    few_3='classes from 3 clips each')


def load(out: Path) -> list[dict]:
    """The results that are there."""
    return [
        json.loads(path.read_text())
        for path in sorted(out.glob('*/*/*/result.json'))
    ]


def accuracies(results: Iterable[dict],
               split: str = 'test',
               classes: Sequence[str] | None = None) -> np.ndarray:
    """The accuracies of trainings in percent, on all classes or on some."""
    counts = [
        np.sum([result[split][name] for name in classes or result[split]], 0)
        for result in results
    ]
    return np.array([100 * right / total for right, total in counts])


def table(results: Sequence[dict], networks: Iterable[str],
          movements: Sequence[str], seconds: Mapping[str, float]) -> str:
    """Markdown: the accuracies of networks on a task, and their cost."""
    rows = []
    for network in networks:
        runs = [result for result in results if result['network'] == network]
        if not runs:
            continue
        macs = runs[0]['flops'] + runs[0]['stss_flops']
        cells = [accuracies(runs), accuracies(runs, 'train')]
        if movements:
            cells.insert(1, accuracies(runs, classes=movements))
        rows.append([
            network, f'{len(runs)}', *map(format_mean, cells),
            f'{macs / 1e9:.2f}', f'{runs[0]["params"] / 1e6:.2f}',
            f'{seconds[network]:.2f}' if seconds else '-'
        ])
    return format_table([
        'network', 'seeds', 'test', *(['movements'] if movements else []),
        'training clips', 'GMACs', 'parameters (M)', 'CPU s / step'
    ], rows)


def draw_classes(results: Sequence[dict], path: Path,
                 networks: Sequence[str]) -> None:
    """Draw the accuracy on each class, a point per network."""
    runs = {
        network: [run for run in results if run['network'] == network]
        for network in networks
    }
    names = [*results[0]['test']]
    points = {
        network: np.array([accuracies(of, classes=[c]).mean() for c in names])
        for network, of in runs.items()
    }
    # The largest gain of the last network on top.
    first, *_, last = points.values()
    order = np.lexsort((last, last - first))
    figure = Figure((6, 0.8 + 0.21 * len(names)), layout='constrained')
    axes = figure.subplots()
    axes.hlines(range(len(names)), first[order], last[order], color='0.75')
    for network, marker in zip(networks, 'os', strict=True):
        axes.plot(
            points[network][order],
            range(len(names)),
            marker,
            markersize=5,
            label=f'{network} ({len(runs[network])} seeds)')
    axes.set_yticks(range(len(names)), [names[i] for i in order])
    axes.set(xlabel='test accuracy (%)', xlim=(-3, 103))
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(axis='x', color='0.9')
    figure.legend(loc='outside upper center', ncols=2, frameon=False)
    save(figure, path)


def write(out: Path, networks: Sequence[str]) -> None:
    """Write tables.md, and for each set classes_SET.svg, of what is there."""
    lines, results, times = [], load(out), out / 'times.json'
    seconds = json.loads(times.read_text()) if times.exists() else {}
    for name, (title, movements) in SETS.items():
        for task, words in TASKS.items():
            runs = [
                run for run in results
                if (run['name'], run['task']) == (name, task)
            ]
            if not runs:
                continue
            chosen = [] if task == 'direction' else movements
            lines += [
                f'### {title}: {words}', '',
                table(runs, networks, chosen, seconds), ''
            ]
            pair = 'TSM', 'SELFY on TSM'
            if task == 'classes' and {*pair} <= {r['network'] for r in runs}:
                draw_classes(runs, out / f'classes_{name}.svg', pair)
    write_text(out / 'tables.md', '\n'.join(lines))
    print('\n'.join(lines))
