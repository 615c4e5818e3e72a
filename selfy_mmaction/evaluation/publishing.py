"""Publishing: checkpoints without the state of their training."""
import ast
import datetime
import hashlib
import io
import json
import os
import os.path as osp
import re
from pathlib import Path

import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ..engine.checkpoint import check_state_dict, get_state_dict
from ..files import write_bytes


def find_config(saved: dict, root: Path) -> Path | None:
    """The config of a project that a checkpoint was trained with."""
    experiment = str(saved.get('meta', {}).get('experiment_name', ''))
    # the config's name and the time of the start
    name = re.sub(r'_\d{8}_\d{6}$', '', experiment)
    # A config is executed: the name must not point to another folder.
    if not re.fullmatch(r'\w{1,200}', name):
        return None
    config = root / f'configs/{name}.py'
    return config if config.is_file() else None


def strip_checkpoint(saved: dict, path: str, config: os.PathLike) -> dict:
    """Keep only the parts of a checkpoint that other users need.

    Args:
        saved (dict): The checkpoint.
        path (str): Its source, for the messages.
        config (os.PathLike): The config that it must fit exactly.

    Returns:
        dict: ``state_dict`` and, in ``meta``, the text of the config that it
        was trained with, without local paths, and the names of the classes.
        With an exponential moving average, the weights are the averages:
        MMEngine tests and saves these as the model's.
    """
    cfg = Config.fromfile(config)
    weights = {
        key: value.contiguous()
        for key, value in get_state_dict(saved).items()
    }
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    check_state_dict(MODELS.build(cfg.model), weights, path)

    meta = saved.get('meta', {})
    classes = (meta.get('dataset_meta') or {}).get('classes', [])
    num_classes = cfg.model.cls_head.num_classes
    if classes and len(classes) != num_classes:
        raise ValueError(
            f'{path} names {len(classes)} classes, but the model of {config} '
            f'has {num_classes}: train with the class list of the data set.')
    kept = {
        key: meta[key]
        for key in ('epoch', 'iter', 'seed', 'mmengine_version') if key in meta
    }
    try:
        kept['cfg'] = strip_paths(meta.get('cfg') or cfg.pretty_text)
    except (MemoryError, RecursionError, SyntaxError, TypeError,
            ValueError) as error:
        raise ValueError(
            f'{path} has an invalid config in its meta '
            f'({error}): give one that tools/train.py wrote.') from error
    kept['dataset_meta'] = dict(classes=list(classes)) if classes else {}
    return dict(meta=kept, state_dict=weights)


class _PathStripper(ast.NodeTransformer):
    """Shortens absolute paths to the part that is valid elsewhere."""

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        if isinstance(node.value, str) and osp.isabs(node.value):
            folder, found, rest = node.value.rpartition('/configs/')
            short = f'configs/{rest}' if found else osp.basename(
                osp.normpath(node.value))
            return ast.Constant(short)
        return node


def strip_paths(config: str) -> str:
    """Remove paths of the machine from the text of a config.

    The text is only parsed, never executed.
    """
    local = ('work_dir', 'load_from', 'resume', 'launcher')
    tree = ast.parse(config)
    tree.body = [
        node for node in tree.body
        if not (isinstance(node, ast.Assign) and isinstance(
            node.targets[0], ast.Name) and node.targets[0].id in local)
    ]
    # a line for each setting
    return ''.join(f'{ast.unparse(node)}\n'
                   for node in _PathStripper().visit(tree).body)


def save_published(checkpoint: dict, name: str, folder: os.PathLike) -> Path:
    """Save a checkpoint as NAME_DATE-HASH.pth.

    Returns:
        Path: The file. The hash is that of its content, which PyTorch and
        MMEngine check after a download.
    """
    file = io.BytesIO()
    torch.save(checkpoint, file)
    content = file.getvalue()
    digest = hashlib.sha256(content).hexdigest()[:8]
    date = f'{datetime.date.today():%Y%m%d}'
    path = Path(folder) / f'{name}_{date}-{digest}.pth'
    write_bytes(path, content)
    return path


def save_safetensors(checkpoint: dict, path: Path) -> None:
    """Save the weights of a checkpoint without pickle, so without code.

    Args:
        checkpoint (dict): The result of `strip_checkpoint`.
        path (Path): The file to write.
    """
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise ValueError('--safetensors: safetensors is not installed: pip '
                         'install safetensors.') from error
    meta = checkpoint['meta']
    content = save(
        checkpoint['state_dict'],
        metadata=dict(
            format='pt',
            config=meta['cfg'],
            classes=json.dumps(meta['dataset_meta'].get('classes', []))))
    write_bytes(path, content)
