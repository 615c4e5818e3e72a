"""Checkpoints: atomic writes, search, and checks before loading."""
import os
import re
import zipfile
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from ..files import replaced_when_done
from ..models.backbones import find_shift_fault

# the start of the name of a block's weight
_BLOCK = re.compile(r'(module\.)?backbone\.selfy\.\w+\.')


def load_checkpoint(path: str, to_resume: bool = False) -> dict:
    """Load a checkpoint of MMEngine's runner, or plain weights, to the CPU.

    Args:
        path (str): Its path or URL.
        to_resume (bool): Whether to resume a training from it.

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
            'continue from it: to start from its weights, give it as '
            'load_from.')
    fault = _find_resume_fault(saved) if to_resume else None
    if fault:
        raise ValueError(f'{path} cannot be resumed from ({fault}): give '
                         'another one.')
    return saved


def _find_fault(saved: dict) -> str | None:
    """What is wrong with a checkpoint, if anything."""
    weights = saved.get('state_dict', saved)
    if not isinstance(weights, dict):
        return f'its state_dict is a {type(weights).__name__}'
    for key, value in weights.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            return f'{key!r} is a {type(value).__name__} among its weights'
        # It could forge lines of the log.
        if not key.isprintable():
            return f'the name {key!r} is not printable'
        # PyTorch copies their real parts into a model, with a warning.
        if value.is_complex():
            return f'the values of {key} are complex'
    meta = saved.get('meta', {})
    if not isinstance(meta, dict):
        return f'its meta is a {type(meta).__name__}'
    data = meta.get('dataset_meta') or {}
    classes = (data.get('classes') or []) if isinstance(data, dict) else None
    if not isinstance(classes, (list, tuple)) or not all(
            isinstance(name, str) for name in classes):
        return 'its dataset_meta has no list of class names'
    return None


def _find_resume_fault(saved: dict) -> str | None:
    """Why MMEngine must not resume from a checkpoint, if anything."""
    meta, hub = saved['meta'], saved['message_hub']
    if 'config' in meta:
        return 'its meta has a config, which MMEngine would run'
    for key in 'epoch', 'iter':
        if type(meta.get(key)) is not int:
            return f'the {key} of its meta is {meta.get(key)!r}'
    if not isinstance(meta.get('seed'), (int, type(None))):
        return f'the seed of its meta is {meta["seed"]!r}'
    if not isinstance(hub, dict):
        return f'its message_hub is a {type(hub).__name__}'
    for key in 'log_scalars', 'runtime_info', 'resumed_keys':
        names = hub.get(key)
        if not isinstance(names, dict) or not all(
                isinstance(name, str) and name.isprintable()
                for name in names):
            return f'{key} of its message_hub has no names'
    return None


def find_last_checkpoint(work_dir: str) -> str | None:
    """Return the last sound checkpoint that training can resume from.

    MMEngine's own search reads the path in ``last_checkpoint``, which may be
    that of an incomplete checkpoint, or the old path of a moved folder. The
    last one is found by its number, since a copy may have any modification
    time.
    """
    found = [(re.fullmatch(r'(epoch|iter)_(\d+)\.pth', path.name), path)
             for path in Path(work_dir).glob('*.pth')]
    # Epoch-based training cannot resume from an iteration.
    saved = sorted(((name[1] == 'epoch', int(name[2]), path)
                    for name, path in found if name),
                   reverse=True)
    return next((str(path) for *_, path in saved if _is_sound(path)), None)


def _is_sound(path: os.PathLike) -> bool:
    """Whether an archive is intact, by its checksums."""
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    # The exception depends on the damage.
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
    """Raise unless a state dict fits a model exactly, with finite values.

    Args:
        model (nn.Module): The model.
        state_dict (dict[str, Tensor]): Its weights.
        source (str): The source of the weights, for the message.
    """
    _check(_compare(model.state_dict(), state_dict), model, state_dict, source)


def check_start(model: nn.Module, checkpoint: dict, source: str) -> list[str]:
    """Raise unless a training can start from the weights of a checkpoint.

    All weights of its backbone must have a place in the model. In turn it
    must contain all weights but those of the SELFY blocks, which may be
    absent, and of the classifier, which may be for other classes. These keep
    their initialisation, which is added to the checkpoint here, since
    MMEngine would warn about each of their names. Blocks are removed from it
    if the model has none.

    Args:
        model (nn.Module): The initialised model.
        checkpoint (dict): The checkpoint.
        source (str): Its source, for the message.

    Returns:
        list[str]: A message for each part that is new or left out.
    """
    own, weights = model.state_dict(), checkpoint.get('state_dict', checkpoint)
    messages = []
    if not any(map(_BLOCK.match, own)) and _remove_blocks(weights):
        messages.append(f'{source} has SELFY blocks, the model of the config '
                        'has none: they are left out.')
    given = get_state_dict(checkpoint)
    faults = {
        key: fault
        for key, fault in _compare(own, given).items()
        # other heads and necks
        if key in own or key.startswith('backbone.')
    }
    classifier = [key for key in faults if key.startswith('cls_head.')]
    missing = {
        key: _BLOCK.match(key)[0]
        for key in faults if _BLOCK.match(key)
    }
    absent = {
        name
        for name in missing.values()
        if not any(key.startswith(name) for key in given)
    }
    new = [
        key for key in faults
        if key in classifier or missing.get(key) in absent
    ]
    _check({key: faults[key]
            for key in faults if key not in new}, model, given, source)
    weights.update({key: own[key] for key in new})
    messages += [
        f'{source} has no SELFY block {name[:-1]}: it keeps its '
        'initialisation.' for name in sorted(absent)
    ]
    if classifier:
        key = classifier[0]
        number = len(given[key]) if key in given else 'no'
        messages.append(f'The classifier is new: {number} classes in '
                        f'{source}, {len(own[key])} in the config.')
    return messages


def _remove_blocks(weights: dict[str, Tensor]) -> bool:
    """Remove the SELFY blocks from weights; return whether there were any."""
    keys = [key for key in weights if _BLOCK.match(key)]
    for key in keys:
        del weights[key]
    return bool(keys)


def _shapes(state_dict: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {
        key: tuple(value.shape)
        for key, value in state_dict.items()
        # MMEngine ignores these, too: old checkpoints lack them.
        if not key.endswith('num_batches_tracked')
    }


def _compare(expected: dict[str, Tensor],
             given: dict[str, Tensor]) -> dict[str, str]:
    """Weights that are missing, unknown or of another shape, and why."""
    expected, given = _shapes(expected), _shapes(given)
    return {
        key:
        f'{key} has shape {given[key]} instead of {shape}'
        if key in given else f'{key} is missing'
        for key, shape in expected.items() if given.get(key) != shape
    } | {
        key: f'{key} is unknown'
        for key in given if key not in expected
    }


def _check(faults: dict[str, str], model: nn.Module,
           weights: dict[str, Tensor], source: str) -> None:
    """Raise if there are faults, or weights that are not finite."""
    if faults:
        fault, *others = faults.values()
        more = f' (and {len(others)} more)' if others else ''
        remedy = f'{fault}{more}; use the config it was trained with.'
        if any('base_model.' in key for key in weights):
            remedy = (f'{fault}{more}; convert official weights with '
                      'tools/convert_checkpoint.py.')
        raise ValueError(
            f'{source} does not fit the model of the config: '
            f'{find_shift_fault(model.state_dict(), weights) or remedy}')
    for key, value in weights.items():
        if not value.isfinite().all():
            raise ValueError(
                f'{source} has values in {key} that are not finite: the '
                'training has diverged; give an earlier checkpoint.')


@register_backend('atomic')
class AtomicBackend(LocalBackend):
    """Writes files atomically; MMEngine's backend overwrites in place."""

    def put(self, obj: bytes, filepath: os.PathLike) -> None:
        """Write bytes to a file.

        Raises:
            OSError: If they cannot be written.
        """
        try:
            with replaced_when_done(filepath) as unfinished:
                super().put(obj, unfinished)
        except OSError as error:
            raise OSError(f'{error} Earlier checkpoints are intact: make room '
                          'and continue with --resume.') from error
