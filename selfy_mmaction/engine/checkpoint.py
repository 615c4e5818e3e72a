"""Checkpoints: written whole, found again, and those of others refused."""
import os
import re
import zipfile
from pathlib import Path

import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from .. import compat
from ..files import replaced_when_done

compat.load_safely()


def load_checkpoint(path: str, to_resume: bool = False) -> dict:
    """Load a checkpoint of MMEngine's runner, or plain weights, to the CPU.

    Args:
        path (str): Its path or address.
        to_resume (bool): Whether a training shall continue from it.

    Raises:
        OSError: If there is no such file, or it cannot be downloaded.
        ValueError: If it holds something else.
    """
    saved = CheckpointLoader.load_checkpoint(path, 'cpu', logger='silent')
    if not isinstance(saved, dict):
        raise ValueError(f'{path} holds a {type(saved).__name__}, not a '
                         'checkpoint: give another one.')
    fault = _find_fault(saved)
    if fault:
        raise ValueError(f'{path} is not a checkpoint ({fault}): give '
                         'another one.')
    missing = {'meta', 'message_hub', 'optimizer'} - saved.keys()
    if to_resume and missing:
        raise ValueError(
            f'{path} has no {min(missing)}, without which no training can '
            'continue from it: to begin with its weights, give it as '
            'load_from.')
    return saved


def _find_fault(saved: dict) -> str | None:
    """What is not as it should be in a checkpoint, if anything."""
    weights = saved.get('state_dict', saved)
    if not isinstance(weights, dict):
        return f'its state_dict is a {type(weights).__name__}'
    for key, value in weights.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            return f'{key!r} is a {type(value).__name__} among its weights'
        # An expanded tensor takes little space in a file, and any amount of
        # memory once it is copied.
        if not is_stored(value):
            return f'the values of {key} are not all in the file'
    meta = saved.get('meta', {})
    if not isinstance(meta, dict):
        return f'its meta is a {type(meta).__name__}'
    data = meta.get('dataset_meta') or {}
    classes = (data.get('classes') or []) if isinstance(data, dict) else None
    if not isinstance(classes, (list, tuple)) or not all(
            isinstance(name, str) for name in classes):
        return 'its dataset_meta has no list of class names'
    return None


def is_stored(tensor: Tensor) -> bool:
    """Whether each value of a tensor has a place of its own in memory."""
    if tensor.layout != torch.strided or tensor.is_quantized:
        return False
    size = tensor.numel() * tensor.element_size()
    return size <= tensor.untyped_storage().nbytes()


def find_last_checkpoint(work_dir: str) -> str | None:
    """Return the newest sound checkpoint that training can resume from.

    MMEngine's own search takes the name in ``last_checkpoint``. Half a
    checkpoint may be there under that name, and a folder that was moved
    leaves the old path there.
    """
    saved = [
        path for path in Path(work_dir).glob('*.pth')
        if re.fullmatch(r'(epoch|iter)_\d+\.pth', path.name)
    ]
    saved.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return next((str(path) for path in saved if _is_sound(path)), None)


def _is_sound(path: os.PathLike) -> bool:
    """Whether all of an archive is as it was written, by its check sums."""
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    # What is raised depends on what is damaged.
    except Exception:
        return False


def get_state_dict(checkpoint: dict) -> dict[str, Tensor]:
    """Return the weights in a checkpoint, without a wrapper's prefix."""
    return {
        re.sub(r'^module\.', '', key): value
        for key, value in checkpoint.get('state_dict', checkpoint).items()
    }


def check_state_dict(model: nn.Module, state_dict: dict[str, Tensor],
                     source: str) -> None:
    """Raise unless a state dict fills a model exactly, with numbers.

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
        for key, value in state_dict.items():
            if not value.isfinite().all():
                raise ValueError(
                    f'{source} has values in {key} that are not finite: the '
                    'training has diverged; give an earlier checkpoint.')
        return
    remedy = 'use the config it was trained with.'
    if any('base_model.' in key for key in given):
        remedy = 'convert official weights with tools/convert_checkpoint.py.'
    more = f' (and {len(faults) - 1} more)' if len(faults) > 1 else ''
    raise ValueError(f'{source} does not fit the model of the config: '
                     f'{faults[0]}{more}; {remedy}')


@register_backend('atomic')
class AtomicBackend(LocalBackend):
    """Writes files whole or not at all: MMEngine's overwrites in place."""

    def put(self, obj: bytes, filepath: os.PathLike) -> None:
        """Write bytes to a file.

        Raises:
            OSError: If they cannot be written.
        """
        try:
            with replaced_when_done(filepath) as unfinished:
                super().put(obj, unfinished)
        except OSError as error:
            raise OSError(f'{error} Earlier checkpoints are whole: make room '
                          'and continue with --resume.') from error
