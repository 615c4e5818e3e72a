"""Finding whole checkpoints, and refusing those of another model."""
import os
import os.path as osp
import re
import zipfile
from pathlib import Path

from torch import Tensor, nn


def is_whole(path: os.PathLike) -> bool:
    """Whether a file is a checkpoint that was written to its end."""
    with open(path, 'rb') as file:
        # PyTorch before 1.6 wrote pickles, later versions zip archives; the
        # directory of an archive is its end.
        return file.read(1) == b'\x80' or zipfile.is_zipfile(file)


def check_checkpoint(path: str) -> None:
    """Raise unless a checkpoint is there, and whole."""
    if '://' in path:
        return
    if not osp.isfile(path):
        raise FileNotFoundError(f'checkpoint {path} does not exist.')
    if not is_whole(path):
        raise ValueError(f'{path} is not a checkpoint, or was cut short when '
                         'it was written: give another one.')


def find_last_checkpoint(work_dir: str) -> str | None:
    """Return the newest whole checkpoint that training can resume from.

    MMEngine's own search takes the name in ``last_checkpoint``. A run killed
    while it writes leaves half a checkpoint under that name, and a folder
    that was moved leaves the old path there.
    """
    saved = [
        path for path in Path(work_dir).glob('*.pth')
        if re.fullmatch(r'(epoch|iter)_\d+\.pth', path.name)
    ]
    saved.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return next((str(path) for path in saved if is_whole(path)), None)


def get_state_dict(checkpoint: dict) -> dict[str, Tensor]:
    """Return the weights in a checkpoint, without a wrapper's prefix."""
    return {
        re.sub(r'^module\.', '', key): value
        for key, value in checkpoint.get('state_dict', checkpoint).items()
    }


def check_state_dict(model: nn.Module, state_dict: dict[str, Tensor],
                     source: str) -> None:
    """Raise unless a state dict fills a model exactly.

    Args:
        model (nn.Module): The model to be filled.
        state_dict (dict[str, Tensor]): Its weights.
        source (str): Where they come from, for the message.
    """
    expected, given = ({
        key: tuple(value.shape)
        for key, value in weights.items()
        # MMEngine minds these neither: old checkpoints lack them.
        if not key.endswith('num_batches_tracked')
    } for weights in (model.state_dict(), state_dict))
    faults = [f'{key} is missing' for key in expected if key not in given]
    faults += [f'{key} is unknown' for key in given if key not in expected]
    faults += [
        f'{key} has shape {given[key]} instead of {shape}'
        for key, shape in expected.items()
        if key in given and given[key] != shape
    ]
    if not faults:
        return
    remedy = 'use the config it was trained with.'
    if any('base_model.' in key for key in given):
        remedy = 'convert official weights with tools/convert_checkpoint.py.'
    more = f' (and {len(faults) - 1} more)' if len(faults) > 1 else ''
    raise ValueError(f'{source} does not fit the model of the config: '
                     f'{faults[0]}{more}; {remedy}')
