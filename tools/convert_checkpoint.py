"""Convert a checkpoint of the official SELFY or TSM code to MMAction2's."""
import argparse
import os.path as osp
import pickle

import torch
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope

from selfy_mmaction.convert import convert_official_state_dict
from selfy_mmaction.engine import checkpoint, launch

CONFIGS = osp.join(osp.dirname(osp.dirname(osp.abspath(__file__))), 'configs')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', help='official checkpoint, .pth.tar')
    parser.add_argument('dst', help='checkpoint to write, .pth')
    parser.add_argument(
        '--config',
        help='the config that the checkpoint shall fit; by default '
        'configs/selfy_tsm_r50_sthv1.py or configs/tsm_r50_sthv1.py')
    launch.add_config_options(parser)
    return parser.parse_args()


def load(path: str) -> dict:
    """Load the state dict of an official checkpoint."""
    checkpoint.check_checkpoint(path)
    try:
        saved = torch.load(path, map_location='cpu', weights_only=True)
        return checkpoint.get_state_dict(saved)
    except (AttributeError, RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(
            f'{path} is not a checkpoint of weights: {type(error).__name__}.'
        ) from error


@launch.one_line_errors
def main() -> None:
    args = parse_args()
    state_dict = convert_official_state_dict(load(args.src))
    if not args.config:
        selfy = any('.selfy.' in key for key in state_dict)
        args.config = osp.join(
            CONFIGS, 'selfy_tsm_r50_sthv1.py' if selfy else 'tsm_r50_sthv1.py')
    cfg = launch.load_config(args.config, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    checkpoint.check_state_dict(
        MODELS.build(cfg.model), state_dict, args.src)
    torch.save(
        dict(meta=dict(converted_from=osp.basename(args.src)),
             state_dict=state_dict), args.dst)
    print(f'{args.dst}: {len(state_dict)} tensors, which fit {args.config}.')


if __name__ == '__main__':
    main()
