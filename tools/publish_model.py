"""Publish a network: one small file to give away, and its model card.

DIR gets NAME_YYYYMMDD-HASH.pth, which has the weights, the config, the names
of the classes and the accuracies in it, without the state of the training and
the paths of this machine, and README.md, to be completed by you.
"""
import argparse
import ast
import datetime
import hashlib
import io
import json
import os.path as osp
import re
from pathlib import Path

import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from selfy_mmaction import __version__
from selfy_mmaction.datasets.recipes import (
    clip_frames,
    frame_size,
    stage_pipeline,
)
from selfy_mmaction.engine import errors, launch
from selfy_mmaction.engine.checkpoint import (
    check_state_dict,
    get_state_dict,
    load_checkpoint,
)
from selfy_mmaction.evaluation.complexity import get_complexity
from selfy_mmaction.evaluation.dumps import load_dump
from selfy_mmaction.evaluation.ensemble import get_accuracies
from selfy_mmaction.files import printable, write_bytes, write_text

ROOT = Path(__file__).resolve().parent.parent
CARD = 'README.md'
# what only the author of a network knows
TO_DO = 'TO FILL IN'


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint of a training')
    parser.add_argument(
        '--out-dir',
        type=Path,
        required=True,
        metavar='DIR',
        help='folder for the files of this network alone')
    parser.add_argument(
        '--config',
        type=Path,
        help='its config; by default the one in configs/ that it was trained '
        'with')
    parser.add_argument(
        '--dump',
        metavar='FILE.npz',
        help='the file of tools/test.py --dump for this checkpoint, for its '
        'accuracies')
    parser.add_argument(
        '--safetensors',
        action='store_true',
        help='also write the weights in this format, without pickle')
    return parser.parse_args()


def find_config(saved: dict) -> Path | None:
    """The config of this repository that a checkpoint was trained with."""
    experiment = str(saved.get('meta', {}).get('experiment_name', ''))
    # the config's name and the time of the start
    name = re.sub(r'_\d{8}_\d{6}$', '', experiment)
    # A config is executed: the name must not point to another folder.
    if not re.fullmatch(r'\w{1,200}', name):
        return None
    config = ROOT / f'configs/{name}.py'
    return config if config.is_file() else None


def strip_checkpoint(saved: dict, path: str, cfg: Config) -> dict:
    """Keep only the parts of a checkpoint that other users need.

    The checkpoint must fit the config exactly; errors name it by its path.
    With an exponential moving average, the weights are the averages, which
    MMEngine tests and saves as the model's.
    """
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
            f'{path} names {len(classes)} classes, but the model of '
            f'{cfg.filename} has {num_classes}: train with the class list of '
            'the data set.')
    kept = {
        key: meta[key]
        for key in ('epoch', 'iter', 'seed', 'mmengine_version', 'accuracies')
        if key in meta
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


class _PathShortener(ast.NodeTransformer):
    """Shortens absolute paths to the part that is valid elsewhere."""

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        if isinstance(node.value, str) and osp.isabs(node.value):
            folder, found, rest = node.value.rpartition('/configs/')
            short = f'configs/{rest}' if found else osp.basename(
                osp.normpath(node.value))
            return ast.Constant(short)
        return node


def strip_paths(config: str) -> str:
    """Remove this machine's paths from a config's text, which is not run."""
    local = ('work_dir', 'load_from', 'resume', 'launcher')
    tree = ast.parse(config)
    tree.body = [
        node for node in tree.body
        if not (isinstance(node, ast.Assign) and isinstance(
            node.targets[0], ast.Name) and node.targets[0].id in local)
    ]
    # a line for each setting
    return ''.join(f'{ast.unparse(node)}\n'
                   for node in _PathShortener().visit(tree).body)


def config_name(published: Path) -> str:
    """The name of the config in that of a published checkpoint."""
    match = re.fullmatch(r'(\w+)_\d{8}-[0-9a-f]{8}\.pth', published.name)
    if match is None:
        raise ValueError(f'{published} is not named NAME_DATE-HASH.pth: '
                         'publish it with tools/publish_model.py.')
    return match[1]


def save_published(checkpoint: dict, name: str, folder: Path) -> Path:
    """Save a checkpoint as NAME_DATE-HASH.pth, and return the path.

    The hash is that of the content, which PyTorch and MMEngine check after a
    download.
    """
    file = io.BytesIO()
    torch.save(checkpoint, file)
    content = file.getvalue()
    digest = hashlib.sha256(content).hexdigest()[:8]
    date = f'{datetime.date.today():%Y%m%d}'
    path = folder / f'{name}_{date}-{digest}.pth'
    write_bytes(path, content)
    return path


def save_safetensors(checkpoint: dict, path: Path) -> None:
    """Save a result of `strip_checkpoint` without pickle, so without code."""
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
            classes=json.dumps(meta['dataset_meta'].get('classes', [])),
            accuracies=json.dumps(meta.get('accuracies', {}))))
    write_bytes(path, content)


def format_card(checkpoint: dict, path: Path, cfg: Config,
                num_samples: int) -> str:
    """The page of a published file, in Markdown.

    Its accuracies are of ``num_samples`` clips, if that is known. What only
    its author knows is marked with TO_DO.
    """
    name, meta = config_name(path), checkpoint['meta']
    classes = meta['dataset_meta'].get('classes', [])
    height, width = frame_size(stage_pipeline(cfg, 'train'))
    cost = get_complexity(cfg, (height, width))
    epochs = f' for {meta["epoch"]} epochs' if meta.get('epoch') else ''
    measured = 'Not measured: publish with `--dump`.'
    if meta.get('accuracies'):
        measured = '\n'.join(f'- {metric}: {value:.2f} %'
                             for metric, value in meta['accuracies'].items())
        measured += f"""

Of {num_samples or 'some'} clips. {TO_DO}: which these are, and whether the
training, or the choice of the checkpoint, has seen them, or others of the same
people and recordings."""
    names = '\n'.join(f'    {i}  {printable(name)}'
                      for i, name in enumerate(classes))
    return f"""\
# {name}

A network that names one of {cfg.model.cls_head.num_classes} actions in a \
video, for [MMAction2](https://github.com/open-mmlab/mmaction2) with \
selfy_mmaction {__version__}.

## Data

{TO_DO}: where the videos are from, who and what they show, how many clips
of how many people or recordings it was trained on{epochs}, and what it should
not be used for.

## Classes

{names or TO_DO}

## Accuracy

{measured}

## Cost

- {cost["flops"] / 1e9:.3g} G multiply-adds for a clip of \
{clip_frames(cfg) or 'any number of'} frames of {height} x {width}
- {cost["params"] / 1e6:.3g} M parameters, a file of \
{path.stat().st_size / 1e6:.1f} MB

## Use

The config is in the file. In a clone of selfy_mmaction:

```bash
python -c "import torch; print(torch.load('{path.name}')['meta']['cfg'])" \
> {name}.py
python tools/predict.py VIDEO {name}.py {path.name}
```

## License

{TO_DO}: that of the weights, which that of the videos may restrict.
"""


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    card = args.out_dir / CARD
    if card.exists():
        raise ValueError(f'{card} exists: give another --out-dir, or move it.')
    saved = load_checkpoint(args.checkpoint)
    config = args.config or find_config(saved)
    if config is None:
        raise ValueError(f'{args.checkpoint} does not name its config in '
                         'configs/: give --config, such as the one that the '
                         'training wrote beside it.')
    cfg = launch.load_config(str(config), {})
    published = strip_checkpoint(saved, args.checkpoint, cfg)
    labels = ()
    if args.dump:
        dump = load_dump(args.dump)
        labels = dump.labels
        published['meta']['accuracies'] = {
            name: round(value, 2)
            for name, value in get_accuracies(dump.scores, labels).items()
        }
    path = save_published(published, config.stem, args.out_dir)
    if args.safetensors:
        save_safetensors(published, path.with_suffix('.safetensors'))
    write_text(card, format_card(published, path, cfg, len(labels)))
    print(f'{path} ({path.stat().st_size / 1e6:.1f} MB)')
    print(f'{card}: complete what is marked "{TO_DO}".')


if __name__ == '__main__':
    main()
