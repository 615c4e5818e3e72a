"""Write the lists of a data set, and check it: a release, or your videos.

For a release, ROOT has the annotations, in `annotations` or itself, and the
media: `rawframes` (sthv1), `videos` (sthv2, diving48), `videos_train` and
`videos_val` (k400) or `subactions` (gym99, gym288).

The data set `folder` is your own: ROOT has a folder of videos per class, or
--csv gives the class of each video.
"""
import argparse
import dataclasses
import os
import sys
from pathlib import Path

from releases import RELEASES, FolderPreparation, Preparation

from selfy_mmaction.engine import errors, launch
from selfy_mmaction.files import printable

DATASETS = [*RELEASES, 'folder']
SHOWN = 10  # findings on the screen; the file has them all


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument('dataset', choices=DATASETS, help='data set')
    parser.add_argument('root', help='its folder, such as data/sthv1')
    parser.add_argument(
        '--workers',
        type=int,
        default=os.cpu_count(),
        help='processes that check the media; one per core by default')
    release = parser.add_argument_group('for a release')
    folder = parser.add_argument_group('for a folder')
    of_release = [
        release.add_argument(
            '--storage',
            choices=['videos', 'rawframes'],
            help='media to list; by default as the data set is shipped'),
        release.add_argument(
            '--partial',
            action='store_true',
            dest='partial_copy',
            help='only a part of the release is expected: missing clips and '
            'other numbers of clips are not errors'),
        release.add_argument(
            '--version',
            help='version of FineGym, v1.1 or v1.0; v1.1 by default, as in '
            'later code of the authors of SELFY'),
        release.add_argument(
            '--official-lists',
            nargs=2,
            metavar=('TRAIN', 'VAL'),
            help='lists of the official SELFY or TSM code, `/path frames '
            'label` with labels in alphabetical order, instead of the '
            'annotations'),
        release.add_argument(
            '--keep-paths',
            action='store_true',
            help='the clips are where --official-lists says, not below ROOT'),
        release.add_argument(
            '--no-decode',
            action='store_false',
            dest='decode',
            help='do not open the videos, only check that they exist'),
    ]
    of_folder = [
        folder.add_argument(
            '--csv',
            dest='table',
            metavar='FILE',
            help='table with the columns clip (a path below ROOT) and label '
            '(a class), instead of a folder per class; clips with the same '
            'group, a third column, are kept in one split; a column split '
            '(train, val or test) is used instead of a random split'),
        folder.add_argument(
            '--val-share',
            type=float,
            default=0.2,
            help='share of the validation clips; 0.2 by default'),
        folder.add_argument(
            '--seed',
            type=int,
            default=0,
            help='seed of the split; 0 by default'),
    ]

    def unfit(dataset: str) -> list[argparse.Action]:
        return of_release if dataset == 'folder' else of_folder

    # The help on a data set shows the options that are for it.
    asked = next((arg for arg in sys.argv if arg in DATASETS), None)
    for action in [] if asked is None else unfit(asked):
        action.help = argparse.SUPPRESS
    args = parser.parse_args()
    for action in unfit(args.dataset):
        if getattr(args, action.dest) != action.default:
            parser.error(f'{action.option_strings[0]} is not for '
                         f'{args.dataset}.')
    return args


def next_command(root: str) -> str:
    """How to train on a folder, with a config of its own if it needs one."""
    name = 'configs/selfy_tsm_r50_folder.py'
    if Path(root) == Path('data/mine'):
        return f'Next: python tools/train.py {name}'
    own = f'configs/selfy_tsm_r50_{Path(root).resolve().name}.py'
    return (f'Next: sed "s|data/mine|{root}|" {name} > {own} && python '
            f'tools/train.py {own}')


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    kind = FolderPreparation if args.dataset == 'folder' else Preparation
    preparation = kind(
        **{
            field.name: getattr(args, field.name)
            for field in dataclasses.fields(kind)
        })
    sound = preparation.run()
    print(preparation.format_summary())
    for note in preparation.notes:
        print(printable(note))
    lines = preparation.findings.lines()
    for line in lines[:SHOWN]:
        print(printable(line))
    if len(lines) > SHOWN:
        print(f'... and {len(lines) - SHOWN} more')
    if lines:
        print(f'All of this is in {preparation.problems_file}.')
    if args.dataset == 'folder' and preparation.has_lists:
        print(next_command(args.root))
    if not sound:
        sys.exit(1)


if __name__ == '__main__':
    main()
