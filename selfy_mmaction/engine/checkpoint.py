"""Finding whole checkpoints, and refusing those of another model."""
import os
import os.path as osp
import re
import zipfile
from pathlib import Path
from typing import Dict, Optional

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from mmaction.registry import HOOKS


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


def find_last_checkpoint(work_dir: str) -> Optional[str]:
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


def check_state_dict(model: nn.Module, state_dict: Dict[str, Tensor],
                     source: str) -> None:
    """Raise unless a state dict fills a model exactly.

    Args:
        model (nn.Module): The model to be filled.
        state_dict (dict[str, Tensor]): Its weights.
        source (str): Where they come from, for the message.
    """
    expected = {
        key: value.shape
        for key, value in model.state_dict().items()
        # absent in checkpoints of PyTorch before 0.4.1, as in MMEngine
        if not key.endswith('num_batches_tracked')
    }
    given = {
        re.sub(r'^module\.', '', key): value.shape
        for key, value in state_dict.items()
        if not key.endswith('num_batches_tracked')
    }
    faults = [f'{key} is missing' for key in expected if key not in given]
    faults += [f'{key} is unknown' for key in given if key not in expected]
    faults += [
        f'{key} has shape {tuple(given[key])} instead of {tuple(shape)}'
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


@HOOKS.register_module()
class StrictLoadHook(Hook):
    """Refuses a checkpoint that does not fill the model exactly.

    MMEngine's runner loads what fits and logs a warning about the rest, which
    is right for initialising a training, and wrong for a test.
    """

    # after the EMA hook, which chooses the weights that are tested
    priority = 'LOWEST'

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Check the weights before they are loaded."""
        model = runner.model
        if is_model_wrapper(model):
            model = model.module
        check_state_dict(model, checkpoint.get('state_dict', checkpoint),
                         runner.cfg.load_from)
