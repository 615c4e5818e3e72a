"""Checks of a config before a runner is built from it.

MMEngine finds most of these mistakes late, with the message of whatever
breaks first; some it does not report at all.
"""
import difflib
import inspect
import os.path as osp
from collections.abc import Iterator, Sequence

from mmaction.registry import OPTIMIZERS
from mmaction.utils import get_str_type
from mmengine.config import Config
from mmengine.runner import Runner

from ..datasets.lists import check_list, read_classes, read_lines
from ..datasets.recipes import clip_frames

# Settings that the runner and the tools read. Everything else in a config is
# a variable, whose value has already been used.
_SETTINGS = {
    *inspect.signature(Runner.__init__).parameters, 'runner_type', 'compile',
    'activation_checkpointing', 'efficient_conv_bn_eval',
    'find_unused_parameters', 'model_wrapper_cfg', 'sync_bn'
}
_SETTINGS -= {'self', 'cfg'}


def check_options(options: dict, cfg: Config) -> None:
    """Raise where ``--cfg-options`` would have no effect.

    Args:
        options (dict): Dotted keys to values.
        cfg (Config): The config before they are merged.
    """
    for key in options:
        first = key.split('.')[0]
        if first in _SETTINGS:
            continue
        if first not in cfg:
            similar = difflib.get_close_matches(first, _SETTINGS, 1)
            remedy = f'is {similar[0]} meant?' if similar else (
                'check its spelling.')
            raise ValueError(f'--cfg-options {key}: there is no setting '
                             f'{first}; {remedy}')
        raise ValueError(
            f'--cfg-options {key}: {first} is a variable of the config, whose '
            'value has been taken already; change what it is taken for, such '
            'as train_dataloader.dataset.data_root.')


def check_model(cfg: Config) -> None:
    """Raise if the parts of the model do not fit each other."""
    for key in ('model.backbone.num_segments', 'model.backbone.num_frames',
                'model.cls_head.num_segments', 'model.cls_head.num_classes'):
        _check_positive(cfg, key)
    segments, head_segments = (
        clip_frames(cfg, part) for part in ('backbone', 'cls_head'))
    if segments and head_segments and segments != head_segments:
        raise ValueError(
            f'model.backbone.num_segments={segments}, but '
            f'model.cls_head.num_segments={head_segments}: make them equal.')


def check_schedule(cfg: Config) -> None:
    """Raise if a training has no epochs or no optimizer."""
    _check_positive(cfg, 'train_cfg.max_epochs')
    epochs = _get(cfg, 'train_cfg.max_epochs')
    for i, part in enumerate(_dicts(cfg.get('param_scheduler'))):
        if epochs and part.get('by_epoch', True) and epochs <= part.get(
                'begin', 0):
            raise ValueError(
                f'param_scheduler[{i}] begins after {part["begin"]} epochs, '
                f'but train_cfg.max_epochs={epochs}: let it begin earlier.')
    key = 'optim_wrapper.optimizer.type'
    kind = _get(cfg, key)
    if isinstance(kind, str) and OPTIMIZERS.get(kind) is None:
        raise ValueError(f'{key}={kind} is not a known optimizer: check its '
                         'spelling, or import its module in custom_imports.')
    key = 'optim_wrapper.optimizer.lr'
    rate = _get(cfg, key)
    if rate is not None and not (isinstance(rate, (int, float)) and rate >= 0):
        raise ValueError(f'{key}={rate}: give a number that is not negative.')


def check_dataloader(cfg: Config, stage: str) -> None:
    """Raise if a data loader does not fit the model."""
    check_frames(cfg, stage)
    name = f'{stage}_dataloader'
    _check_positive(cfg, f'{name}.batch_size')
    for node in _dicts(cfg.get(name) or {}):
        if 'ann_file' in node:
            path = osp.join(node.get('data_root') or '', node['ann_file'])
            if '://' not in path and not osp.isfile(path):
                raise FileNotFoundError(
                    f'annotation file {path} of {name} does not exist.')


def check_frames(cfg: Config, stage: str) -> None:
    """Raise if a pipeline samples clips of another size than the model takes.

    The model reshapes a batch by its number of segments: with another number
    of frames, the videos of a batch may be mixed without an error. A multiple
    by ``num_clips`` alone would be closer in time than in training.
    """
    check_model(cfg)
    segments = clip_frames(cfg)
    # its name in transformers
    key = 'num_frames' if _get(cfg,
                               'model.backbone.num_frames') else 'num_segments'
    for node in _dicts(cfg.get(f'{stage}_dataloader') or {}):
        if not segments or 'clip_len' not in node:
            continue
        frames = node['clip_len'] * node.get('num_clips', 1)
        remedy = None
        if stage == 'train' and frames != segments:
            remedy = 'make them equal.'
        elif frames != segments and node['clip_len'] % segments:
            remedy = (f'sample {segments}; for more views add crops or set '
                      'twice_sample=True of SampleFrames.')
        if remedy:
            raise ValueError(
                f'{stage}_dataloader samples {frames} frames (clip_len x '
                f'num_clips), but model.backbone.{key}={segments}: {remedy}')


def check_lists(cfg: Config, stage: str) -> None:
    """Raise if the lists of a data loader are malformed or have other classes
    than the model."""
    num_classes = _get(cfg, 'model.cls_head.num_classes')
    for node in _dicts(cfg.get(f'{stage}_dataloader') or {}):
        if 'ann_file' not in node:
            continue
        classes = (node.get('metainfo') or {}).get('classes')
        if isinstance(classes, str) and num_classes:
            classes = read_classes(classes, num_classes, 'the model')
        for step in node.get('pipeline') or ():
            if get_str_type(step['type']).endswith('SelectiveFlip'):
                _check_flip(step, classes, num_classes, f'{stage}_dataloader')
        check_list(node, num_classes, may_lack_labels=stage == 'test')


def _check_flip(step: dict, classes: str | Sequence[str] | None,
                num_classes: int | None, name: str) -> None:
    """Raise unless a SelectiveFlip has the classes of its data set."""
    if not classes:
        raise ValueError(
            f'SelectiveFlip of {name} may spare other classes than '
            'frozen_classes names, since its dataset does not name its '
            'classes: set metainfo.classes of the dataset, and classes of '
            'SelectiveFlip to the same.')
    others = _read_names(step.get('classes') or ())
    if others != _read_names(classes):
        raise ValueError(
            f'SelectiveFlip of {name} has other classes than '
            'metainfo.classes of its dataset, so it would spare other '
            'classes than frozen_classes names: give it the same.')
    if num_classes and len(others) != num_classes:
        raise ValueError(
            f'SelectiveFlip of {name} has {len(others)} classes, but '
            f'model.cls_head.num_classes={num_classes}: name those of the '
            'model in its classes, and in metainfo.classes of the dataset.')


def _read_names(classes: str | Sequence[str]) -> list[str]:
    """The names of classes, or of those in a file."""
    if isinstance(classes, str):
        classes = read_lines(classes)
    return [name for name in classes if name]


def _dicts(node: object) -> Iterator[dict]:
    """Yield all dicts in a part of a config."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from _dicts(child)


def _get(cfg: Config, key: str) -> object:
    """The value at a dotted key, None if there is none."""
    node = cfg
    for part in key.split('.'):
        node = (node or {}).get(part)
    return node


def _check_positive(cfg: Config, key: str) -> None:
    value = _get(cfg, key)
    if value is not None and not (isinstance(value, int) and value > 0):
        raise ValueError(f'{key}={value}: give a positive whole number.')
