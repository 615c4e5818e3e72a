"""Render the motion clips of the quickstart."""
import argparse
import os
from pathlib import Path

from selfy_mmaction.datasets import motion
from selfy_mmaction.engine import launch


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument(
        'out', nargs='?', type=Path, default='data/motion', help='folder')
    parser.add_argument(
        '--train', type=int, default=1600, help='number of training clips')
    parser.add_argument(
        '--val', type=int, default=400, help='number of validation clips')
    parser.add_argument('--seed', type=int, default=0, help='random seed')
    parser.add_argument(
        '--workers',
        type=int,
        default=os.cpu_count(),
        help='number of threads')
    return parser.parse_args()


@launch.one_line_errors
def main() -> None:
    args = parse_args()
    if motion.render_dataset(args.out, args.train, args.val, args.seed,
                             args.workers):
        print(f'\nRendered {args.train} + {args.val} clips to {args.out}.')
    else:
        print(f'{args.out} is there already.')


if __name__ == '__main__':
    main()
