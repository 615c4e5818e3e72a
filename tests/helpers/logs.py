"""Logs as a training writes them."""
import json


def write_log(work_dir, start, losses, accuracies=None, end=''):
    """Write what one start of a training logs.

    Args:
        work_dir (Path): Where the training was started.
        start (str): The time of the start.
        losses (dict[int, float]): By iteration.
        accuracies (dict[int, float], optional): By epoch.
        end (str): What follows, such as half a line.
    """
    folder = work_dir / start / 'vis_data'
    folder.mkdir(parents=True)
    entries = [
        dict(loss=loss, lr=.1, epoch=1, iter=step, step=step)
        for step, loss in losses.items()
    ] + [{
        'acc/top1': value,
        'step': step
    } for step, value in (accuracies or {}).items()]
    text = ''.join(json.dumps(entry) + '\n' for entry in entries)
    (folder / 'scalars.json').write_text(text + end)
    return str(work_dir)
