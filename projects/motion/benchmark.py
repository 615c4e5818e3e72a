"""Train and test the networks of the motion benchmark, and tabulate them.

Renders the clips where there are none, trains each network with each seed,
tests it on all splits and writes table.md, classes.md (of the fast split),
curves.svg and frames.png; with --ablations ablations.md, with --orders
orders.md, too. --designs trains others instead, and writes designs.md,
designs.svg, accuracy against time, and designs_curves.svg. Runs that are done
are not done again.
"""
import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import bench_clips
import experiment
from curves import draw_accuracies, draw_costs, draw_splits

from selfy_mmaction.engine import errors, launch
from selfy_mmaction.files import write_text

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument(
        '--data',
        type=Path,
        default='data/motion_bench',
        help='folder of the clips; data/motion_bench by default')
    parser.add_argument(
        '--out',
        type=Path,
        default='work_dirs/motion_bench',
        help='folder of the results; work_dirs/motion_bench by default')
    parser.add_argument(
        '--seeds',
        type=int,
        nargs='+',
        default=[0, 1, 2],
        help='seeds of the trainings; 0 1 2 by default')
    parser.add_argument(
        '--ablations',
        action='store_true',
        help='train the ablations of the block, too, with the first seed')
    parser.add_argument(
        '--orders',
        action='store_true',
        help='train higher orders of self-similarity, too, with each seed')
    parser.add_argument(
        '--designs',
        nargs='+',
        default=[],
        metavar='NAME',
        help='train these designs instead, with each seed: names of '
        'networks, ablations and orders, or one with ", 2 epochs" after it')
    parser.add_argument(
        '--table-only',
        action='store_true',
        help='train nothing, tabulate what is there')
    launch.add_config_options(parser)
    return parser.parse_args()


def get_results(runs: list[experiment.Run], args: argparse.Namespace) -> dict:
    """Train what is not trained yet, or only read."""
    results = {}
    for i, run in enumerate(runs, 1):
        path = run.folder(args.out) / 'result.json'
        if args.table_only:
            if not path.is_file():
                raise FileNotFoundError(
                    f'{path} is missing, the result of {run.name} with seed '
                    f'{run.seed}: run again without --table-only.')
            results[run] = json.loads(path.read_text())
            continue
        print(f'{run.name}, seed {run.seed} ({i} of {len(runs)})', flush=True)
        cfg = run.load_config(CONFIGS, args.cfg_options)
        for loader in cfg.train_dataloader, cfg.test_dataloader:
            loader.dataset.data_root = str(args.data)
            loader.dataset.metainfo.classes = str(args.data / 'classes.txt')
        results[run] = experiment.train_and_test(cfg, run.folder(args.out))
    return results


def write(args: argparse.Namespace, name: str, text: str) -> None:
    path = args.out / name
    write_text(path, text + '\n')
    print(f'{path}:\n{text}')


def study(args: argparse.Namespace, names: Iterable[str],
          seeds: Sequence[int]) -> experiment.Study:
    runs = [experiment.Run(name, seed) for seed in seeds for name in names]
    return experiment.Study(args.data, get_results(runs, args))


def tabulate_networks(args: argparse.Namespace) -> None:
    networks = study(args, experiment.NETWORKS, args.seeds)
    write(args, 'table.md', networks.table())
    write(args, 'classes.md', networks.table_of_classes('fast'))
    draw_accuracies(networks, args.out / 'curves.svg')
    draw_splits(networks, args.out / 'frames.png')
    print(f'{args.out}/curves.svg\n{args.out}/frames.png')
    if args.ablations:
        names = ['SELFY on TSM', *experiment.ABLATIONS]
        write(args, 'ablations.md', study(args, names, args.seeds[:1]).table())
    if args.orders:
        write(args, 'orders.md',
              study(args, experiment.ORDERS, args.seeds).table())


def tabulate_designs(args: argparse.Namespace) -> None:
    designs = study(args, args.designs, args.seeds)
    milliseconds = experiment.time_designs(args.designs, CONFIGS,
                                           args.cfg_options)
    write(args, 'designs.md', designs.table(milliseconds))
    draw_costs(designs, milliseconds, args.out / 'designs.svg')
    draw_accuracies(designs, args.out / 'designs_curves.svg')
    print(f'{args.out}/designs.svg\n{args.out}/designs_curves.svg')


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    for name in args.designs:
        if name not in experiment.DESIGNS:
            raise ValueError(f'--designs {name!r} is unknown: give some of '
                             f'{", ".join(experiment.DESIGNS)}.')
    if not (args.data / 'motion.json').is_file():
        if args.table_only:
            raise FileNotFoundError(
                f'{args.data} holds no motion clips: run again without '
                '--table-only.')
        bench_clips.render_dataset(args.data)
    settings = json.loads((args.data / 'motion.json').read_text())
    if settings.get('kind') != 'benchmark':
        raise ValueError(f'{args.data} holds other clips than those of the '
                         'benchmark: choose another folder.')

    if args.designs:
        tabulate_designs(args)
    else:
        tabulate_networks(args)


if __name__ == '__main__':
    main()
