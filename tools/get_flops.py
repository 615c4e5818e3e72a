"""Print the complexity of the network of a config, for one clip."""
import argparse

from selfy_mmaction.analysis.complexity import get_complexity
from selfy_mmaction.engine import launch
from selfy_mmaction.engine.checks import get_num_segments


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--shape',
        type=int,
        nargs=2,
        default=(224, 224),
        metavar=('HEIGHT', 'WIDTH'),
        help='size of the frames; 224 224 by default')
    launch.add_config_options(parser)
    return parser.parse_args()


@launch.one_line_errors
def main() -> None:
    args = parse_args()
    if min(args.shape) < 1:
        raise ValueError(f'--shape {args.shape}: give positive numbers.')
    cfg = launch.load_config(args.config, args.cfg_options)
    complexity = get_complexity(cfg, tuple(args.shape))
    # A 2D backbone of MMAction2 takes any number of frames.
    unit = '' if get_num_segments(cfg) else ' per frame'
    print(f'multiply-adds{unit}: {complexity["flops"] / 1e9:.1f} G')
    if complexity['stss_flops']:
        print('products of STSS, not among them: '
              f'{complexity["stss_flops"] / 1e9:.2f} G')
    print(f'parameters: {complexity["params"] / 1e6:.1f} M')


if __name__ == '__main__':
    main()
