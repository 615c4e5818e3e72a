"""Render synthetic motion clips: those of the quickstart, or the benchmark."""
import argparse
import os
from pathlib import Path

import bench_clips
import motion_clips

from selfy_mmaction.engine import errors, launch

# kind -> its module, and its numbers of training and validation clips
KINDS = dict(
    quickstart=(motion_clips, 1600, 400), benchmark=(bench_clips, 4800, 180))


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument(
        'out',
        nargs='?',
        type=Path,
        help='folder; data/motion by default, or data/motion_bench')
    parser.add_argument(
        '--kind',
        choices=KINDS,
        default='quickstart',
        help='quickstart by default')
    parser.add_argument(
        '--train',
        type=int,
        help='number of training clips; 1600 by default, or 4800')
    parser.add_argument(
        '--val',
        type=int,
        help='number of validation clips; 400 by default, or 180 for each '
        'split of the benchmark')
    parser.add_argument(
        '--seed', type=int, default=0, help='random seed; 0 by default')
    parser.add_argument(
        '--workers',
        type=int,
        default=os.cpu_count(),
        help='number of threads; one per core by default')
    return parser.parse_args()


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    module, train, val = KINDS[args.kind]
    train = train if args.train is None else args.train
    val = val if args.val is None else args.val
    out = args.out or Path('data/motion' if module is
                           motion_clips else 'data/motion_bench')
    if module.render_dataset(out, train, val, args.seed, args.workers):
        each = '' if module is motion_clips else ' of each split'
        print(f'Rendered {train} + {val} clips{each} to {out}.')
    else:
        print(f'{out} is there already.')


if __name__ == '__main__':
    main()
