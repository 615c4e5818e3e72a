"""Write the lists of a data set, and check it: a release, or your videos.

Of a release, ROOT holds the annotations, or has them in `annotations`, and
the media: `rawframes` (sthv1), `videos` (sthv2, diving48), `videos_train` and
`videos_val` (k400) or `subactions` (gym99, gym288).

The data set `folder` is your own: ROOT holds a folder of videos for each
class, or --csv says which videos show what.
"""
import argparse
import os
import sys

from selfy_mmaction.datasets.releases import (
    RELEASES,
    FolderPreparation,
    Preparation,
)
from selfy_mmaction.engine import errors, launch
from selfy_mmaction.files import printable

SHOWN = 10  # findings on the screen; the file has them all


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument(
        'dataset', choices=[*RELEASES, 'folder'], help='data set')
    parser.add_argument('root', help='its folder, such as data/sthv1')
    parser.add_argument(
        '--workers',
        type=int,
        default=os.cpu_count(),
        help='processes that check the media; one per core by default')
    release = parser.add_argument_group('of a release')
    folder = parser.add_argument_group('of a folder')
    of_release = [
        release.add_argument(
            '--storage',
            choices=['videos', 'rawframes'],
            help='what to list; by default as the data set ships'),
        release.add_argument(
            '--partial',
            action='store_true',
            help='this is a part of the release: missing clips and other '
            'numbers of clips are no errors'),
        release.add_argument(
            '--version',
            help='of FineGym, v1.1 or v1.0; v1.1 by default, on which the '
            'authors of SELFY train in their later code'),
        release.add_argument(
            '--official-lists',
            nargs=2,
            metavar=('TRAIN', 'VAL'),
            help='lists of the official SELFY or TSM code, `/path frames '
            'label` with labels in alphabetical order, in place of the '
            'annotations'),
        release.add_argument(
            '--keep-paths',
            action='store_true',
            help='the clips lie where --official-lists says, not below ROOT'),
        release.add_argument(
            '--no-decode',
            action='store_true',
            help='do not open the videos, only see whether they are there'),
    ]
    of_folder = [
        folder.add_argument(
            '--csv',
            metavar='FILE',
            help='table with the columns clip (a path below ROOT) and label '
            '(a class), in place of a folder for each class; clips with the '
            'same group, a third column, are kept in one split'),
        folder.add_argument(
            '--val-share',
            type=float,
            default=0.2,
            help='share of the clips to validate on; 0.2 by default'),
        folder.add_argument(
            '--seed',
            type=int,
            default=0,
            help='seed of the split; 0 by default'),
    ]
    args = parser.parse_args()
    for action in of_release if args.dataset == 'folder' else of_folder:
        if getattr(args, action.dest) != action.default:
            parser.error(f'{action.option_strings[0]} is not for '
                         f'{args.dataset}.')
    return args


def build_preparation(
        args: argparse.Namespace) -> Preparation | FolderPreparation:
    """What the arguments ask for."""
    if args.dataset == 'folder':
        return FolderPreparation(
            args.root,
            table=args.csv,
            val_share=args.val_share,
            seed=args.seed,
            workers=args.workers)
    return Preparation(
        args.dataset,
        args.root,
        storage=args.storage,
        partial_copy=args.partial,
        official_lists=args.official_lists,
        keep_paths=args.keep_paths,
        version=args.version,
        decode=not args.no_decode,
        workers=args.workers)


@errors.one_line_errors
def main() -> None:
    preparation = build_preparation(parse_args())
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
