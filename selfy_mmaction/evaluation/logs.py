"""Reading the logs of trainings."""
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Curve(NamedTuple):
    """The history of a logged value."""
    unit: str  # of the steps: iteration or epoch
    steps: list[int]
    values: list[float]


def load_curves(work_dir: str) -> dict[str, Curve]:
    """Read the values that a training has logged in its work directory.

    Each start of it has a folder there. Steps that a resumed training repeats
    replace the earlier ones.

    Args:
        work_dir (str): The directory, or the folder of one start.

    Returns:
        dict[str, Curve]: The values by their name, such as loss or acc/top1.

    Raises:
        FileNotFoundError: If there is no log.
        ValueError: If a log cannot be read.
    """
    # Named by the time of the start.
    logs = sorted(
        log for pattern in ('vis_data', '*/vis_data')
        for log in Path(work_dir).glob(f'{pattern}/scalars.json'))
    if not logs:
        raise FileNotFoundError(
            f'{work_dir} holds no log of a training (*/vis_data/scalars.json)'
            ': give the work directory of one.')
    curves = {}
    for log in logs:
        for name, curve in _read_log(log).items():
            before = curves.get(name, Curve(curve.unit, [], []))
            kept = sum(step < curve.steps[0] for step in before.steps)
            curves[name] = Curve(curve.unit, before.steps[:kept] + curve.steps,
                                 before.values[:kept] + curve.values)
    return curves


def _read_log(path: Path) -> dict[str, Curve]:
    """The values of one start."""
    curves = {}
    for entry in _read_lines(path):
        unit = 'iteration' if 'iter' in entry else 'epoch'
        for name, value in entry.items():
            if name not in ('iter', 'epoch', 'step'):
                curve = curves.setdefault(name, Curve(unit, [], []))
                curve.steps.append(entry['step'])
                curve.values.append(value)
    return curves


def _read_lines(path: Path) -> Iterator[dict[str, float]]:
    lines = path.read_text(encoding='utf-8', errors='replace').split('\n')
    # After the last line break there is nothing, or an incomplete line.
    for number, line in enumerate(lines[:-1], 1):
        try:
            entry = json.loads(line)
            numbers = all(
                isinstance(value, (int, float)) for value in entry.values())
            if not numbers or 'step' not in entry:
                raise ValueError
        except (AttributeError, RecursionError, ValueError) as error:
            raise ValueError(
                f'line {number} of {path} is not a log entry: delete it, or '
                'the file.') from error
        yield entry
