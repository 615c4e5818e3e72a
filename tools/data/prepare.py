"""Write the lists of a data set from its original release, and check it.

ROOT holds the annotations of the release, or has them in `annotations`, and
its media: `rawframes` (sthv1), `videos` (sthv2, diving48), `videos_train` and
`videos_val` (k400) or `subactions` (gym99, gym288).
"""
import argparse
import os
import sys

from selfy_mmaction.datasets.releases import RELEASES, Preparation
from selfy_mmaction.engine import launch
from selfy_mmaction.files import printable

SHOWN = 10  # findings on the screen; the file has them all


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument('dataset', choices=RELEASES, help='data set')
    parser.add_argument('root', help='its folder, such as data/sthv1')
    parser.add_argument(
        '--storage',
        choices=['videos', 'rawframes'],
        help='what to list; by default as the data set ships')
    parser.add_argument(
        '--partial',
        action='store_true',
        help='this is a part of the release: missing clips and other numbers '
        'of clips are no errors')
    parser.add_argument(
        '--version',
        help='of FineGym, v1.1 or v1.0; v1.1 by default, on which the authors '
        'of SELFY train in their later code')
    parser.add_argument(
        '--official-lists',
        nargs=2,
        metavar=('TRAIN', 'VAL'),
        help='lists of the official SELFY or TSM code, `/path frames label` '
        'with labels in alphabetical order, in place of the annotations')
    parser.add_argument(
        '--keep-paths',
        action='store_true',
        help='the clips lie where --official-lists says, not below ROOT')
    parser.add_argument(
        '--no-decode',
        action='store_true',
        help='do not open the videos, only see whether they are there')
    parser.add_argument(
        '--workers',
        type=int,
        default=os.cpu_count(),
        help='processes that check the media; one per core by default')
    return parser.parse_args()


@launch.one_line_errors
def main() -> None:
    args = parse_args()
    preparation = Preparation(
        args.dataset,
        args.root,
        storage=args.storage,
        partial_copy=args.partial,
        official_lists=args.official_lists,
        keep_paths=args.keep_paths,
        version=args.version,
        decode=not args.no_decode,
        workers=args.workers)
    sound = preparation.run()
    print(preparation.table())
    lines = preparation.findings.lines()
    for line in lines[:SHOWN]:
        print(printable(line))
    if len(lines) > SHOWN:
        print(f'... and {len(lines) - SHOWN} more')
    if lines:
        print(f'All of this is in {preparation.problems_file}.')
    if not sound:
        sys.exit(1)


if __name__ == '__main__':
    main()
