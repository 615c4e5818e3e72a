"""Convert a checkpoint of the official SELFY or TSM code to MMAction2's.

TSM's code is mit-han-lab/temporal-shift-module. Both number the classes
alphabetically. So does the result, which contains their names; with
--renumber they are numbered as in the config.
"""
import argparse
import io
import os.path as osp

import torch
from mmengine.config import Config
from mmengine.fileio import list_from_file

from selfy_mmaction.engine import errors, launch

CONFIGS = osp.join(osp.dirname(osp.dirname(osp.abspath(__file__))), 'configs')


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument('src', help='checkpoint, .pth.tar or .pth')
    parser.add_argument('dst', help='checkpoint to write, .pth')
    parser.add_argument(
        '--config',
        help='the config that the checkpoint must fit; by default that of '
        'the network on Something-Something V1 or, with 400 classes, on '
        'Kinetics-400')
    parser.add_argument(
        '--renumber',
        action='store_true',
        help='number the classes as in the config and its lists')
    launch.add_config_options(parser)
    return parser.parse_args()


def class_names(cfg: Config) -> list[str] | None:
    """The class names of a config, in its order, if it has them."""
    dataset = cfg.get('train_dataloader', {}).get('dataset', {})
    names = dataset.get('metainfo', {}).get('classes')
    return list_from_file(names) if isinstance(names, str) else names


def renumber(state_dict: dict, names: list[str]) -> None:
    """Reorder the classifier from the alphabetical order to another one."""
    alphabetical = sorted(names)
    order = [alphabetical.index(name) for name in names]
    for key in ('cls_head.fc_cls.weight', 'cls_head.fc_cls.bias'):
        state_dict[key] = state_dict[key][order]


def default_config(state_dict: dict) -> str:
    """The config of 8 frames that a converted checkpoint should fit."""
    network = 'tsn'
    if any('.conv1.conv.net.' in key for key in state_dict):
        network = 'tsm'
    if any('.selfy.' in key for key in state_dict):
        network = 'selfy_tsm'
    classes = len(state_dict.get('cls_head.fc_cls.bias', ()))
    dataset = 'k400' if classes == 400 else 'sthv1'
    return osp.join(CONFIGS, f'{network}_r50_{dataset}.py')


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    from mmaction.registry import MODELS
    from mmengine.registry import init_default_scope

    from selfy_mmaction.engine import checkpoint
    from selfy_mmaction.files import write_bytes
    from selfy_mmaction.models.convert import convert_official_state_dict

    official = checkpoint.get_state_dict(checkpoint.load_checkpoint(args.src))
    try:
        state_dict = convert_official_state_dict(official)
    except ValueError as error:
        raise ValueError(f'{args.src}: {error}') from error
    if not args.config:
        args.config = default_config(state_dict)
    cfg = launch.load_config(args.config, args.cfg_options)
    if (any('.layer3.22.' in key for key in state_dict)
            and cfg.model.backbone.get('depth') != 101):
        raise ValueError(
            f'{args.src} is of a ResNet-101, {args.config} is not: give '
            '--cfg-options model.backbone.depth=101, to other tools as well.')
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    checkpoint.check_state_dict(MODELS.build(cfg.model), state_dict, args.src)
    names, meta = class_names(cfg), {}
    if args.renumber:
        if not names:
            raise ValueError(f'--renumber: {args.config} has no class names '
                             '(train_dataloader.dataset.metainfo.classes).')
        renumber(state_dict, names)
    if names:
        meta['dataset_meta'] = dict(
            classes=list(names if args.renumber else sorted(names)))
    file = io.BytesIO()
    torch.save(dict(meta=meta, state_dict=state_dict), file)
    write_bytes(args.dst, file.getvalue())
    print(f'{args.dst}: {len(state_dict)} tensors, which fit {args.config}.')
    if names and not args.renumber and names != sorted(names):
        print('Its classes are numbered alphabetically, those of the config '
              'are not: give --renumber to test it on the lists of the '
              'config.')


if __name__ == '__main__':
    main()
