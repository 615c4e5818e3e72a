"""Print the complexity of the network of a config, for one clip."""
import argparse

from selfy_mmaction.engine import errors, launch


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--shape',
        type=int,
        nargs=2,
        metavar=('HEIGHT', 'WIDTH'),
        help='size of the frames; that of training by default')
    launch.add_config_options(parser)
    return parser.parse_args()


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    from selfy_mmaction.datasets.recipes import (
        clip_frames,
        frame_size,
        stage_pipeline,
    )
    from selfy_mmaction.evaluation.complexity import get_complexity

    if args.shape and min(args.shape) < 1:
        raise ValueError(f'--shape {args.shape}: give positive numbers.')
    cfg = launch.load_config(args.config, args.cfg_options)
    if not args.shape and 'train_dataloader' not in cfg:
        raise ValueError(f'{args.config} has no train_dataloader, so the size '
                         'of the frames is unknown: give --shape.')
    complexity = get_complexity(
        cfg, args.shape or frame_size(stage_pipeline(cfg, 'train')))
    # MMAction2's 2D backbones take any number of frames.
    unit = '' if clip_frames(cfg) else ' per frame'
    print(f'multiply-adds{unit}: {complexity["flops"] / 1e9:.3g} G')
    if complexity['stss_flops']:
        print('products of STSS, not included: '
              f'{complexity["stss_flops"] / 1e9:.3g} G')
    print(f'parameters: {complexity["params"] / 1e6:.3g} M')


if __name__ == '__main__':
    main()
