"""Find the clips of a config's lists that cannot be read.

Every frame is decoded as in the config. Bad clips are written to a file, one
line `PATH<TAB>REASON` each, and the exit code is 1.
"""
import argparse
import os
import sys

from selfy_mmaction.engine import errors, launch
from selfy_mmaction.files import printable, write_text

SHOWN = 10  # bad clips on the screen; the file has them all


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--split',
        nargs='+',
        choices=['train', 'val', 'test'],
        default=['train', 'val', 'test'],
        help='the lists to check; all by default')
    parser.add_argument(
        '--workers',
        type=int,
        default=os.cpu_count(),
        help='number of processes; one per core by default')
    parser.add_argument(
        '--out',
        default='bad_clips.txt',
        help='file for the bad clips; ./bad_clips.txt by default')
    launch.add_config_options(parser)
    args = parser.parse_args()
    if args.workers < 1:
        parser.error(f'--workers {args.workers}: give 1 or more.')
    return args


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    from mmaction.registry import DATASETS
    from mmengine.registry import init_default_scope

    from selfy_mmaction.datasets.bad_clips import (
        base_datasets,
        clip_name,
        find_bad_clips,
    )
    from selfy_mmaction.engine import checks
    from selfy_mmaction.engine.progress import track
    cfg = launch.load_config(args.config, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    bad, names = {}, set()
    for split in args.split:
        checks.check_dataloader(cfg, split)
        checks.check_lists(cfg, split)
        built = DATASETS.build(cfg[f'{split}_dataloader'].dataset)
        for dataset in base_datasets(built):
            # val and test often have the same clips
            clips = {
                i: name
                for i in range(len(dataset))
                if (name := clip_name(dataset.get_data_info(i))) not in names
            }
            if not clips:
                continue
            names.update(clips.values())
            print(f'{split}: {len(clips)} clips of {dataset.ann_file}')
            found = find_bad_clips(dataset, [*clips], workers=args.workers)
            for i, reason in track(found, len(clips)):
                if reason:
                    bad[clips[i]] = reason
    if not bad:
        print(f'All {len(names)} clips can be read.')
        return
    bad = {printable(name): printable(bad[name]) for name in sorted(bad)}
    write_text(args.out, ''.join(f'{name}\t{bad[name]}\n' for name in bad))
    for name in list(bad)[:SHOWN]:
        print(f'{name} {bad[name]}')
    if len(bad) > SHOWN:
        print(f'... and {len(bad) - SHOWN} more')
    print(f'{len(bad)} of {len(names)} clips are bad: see {args.out}.')
    sys.exit(1)


if __name__ == '__main__':
    main()
