"""Test the networks of a row of the paper's tables, and their average.

The rows are those of configs/paper.yml. Give a checkpoint for each network:
eval_protocol.py sthv1_8_16_2clip --checkpoints 8.pth 16.pth --gpus 8
"""
import argparse
import os
import subprocess
import sys
from pathlib import Path

import yaml

from selfy_mmaction.engine import errors, launch
from selfy_mmaction.evaluation.dumps import KINDS, Dump, load_dump

ROOT = Path(__file__).resolve().parent.parent
ROWS = yaml.safe_load((ROOT / 'configs/paper.yml').read_text())


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument(
        'row', choices=list(ROWS), metavar='ROW', help=', '.join(ROWS))
    parser.add_argument(
        '--checkpoints',
        nargs='+',
        required=True,
        metavar='CHECKPOINT',
        help="one for each of the row's networks, in their order")
    parser.add_argument(
        '--average',
        choices=KINDS,
        help='scores to average; by default those of the row, logits as in '
        'the test code of TSM: the official code averages no networks')
    parser.add_argument(
        '--gpus',
        type=int,
        default=1,
        help='number of processes; without a GPU they run on the CPU')
    parser.add_argument(
        '--work-dir',
        help='folder of logs and predictions; ./work_dirs/ROW by default')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='settings that replace those of the configs')
    return parser.parse_args()


def test(config: str, weights: str, folder: Path,
         args: argparse.Namespace) -> Dump:
    """Test a network in separate processes."""
    dump = folder / f'{config}.npz'
    command = [ROOT / f'configs/{config}.py', weights]
    if args.gpus > 1:
        command = ['bash', ROOT / 'tools/dist_test.sh', *command, args.gpus]
    else:
        command = [sys.executable, ROOT / 'tools/test.py', *command]
    command += ['--work-dir', folder / config, '--dump', dump]
    if args.cfg_options:
        command += ['--cfg-options', *args.cfg_options]
    environment = {**os.environ, 'PYTHON': sys.executable}
    done = subprocess.run(map(str, command), env=environment)
    if done.returncode:
        raise ValueError(f'the test of {config} failed, see above.')
    return load_dump(str(dump))


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    from selfy_mmaction.engine.checkpoint import load_checkpoint
    from selfy_mmaction.evaluation import ensemble

    row = ROWS[args.row]
    configs = row['Configs']
    if len(args.checkpoints) != len(configs):
        raise ValueError(
            f'--checkpoints gives {len(args.checkpoints)} files, but '
            f'{args.row} needs {len(configs)}: of {" and ".join(configs)}.')
    if args.gpus < 1:
        raise ValueError(f'--gpus {args.gpus}: give 1 or more.')
    for path in args.checkpoints:
        if '://' not in path:
            load_checkpoint(path)

    folder = Path(args.work_dir or f'work_dirs/{args.row}')
    dumps = [
        test(config, weights, folder, args)
        for config, weights in zip(configs, args.checkpoints, strict=True)
    ]
    average = args.average or row.get('Average', dumps[0].kind)
    scores = ensemble.average_scores(dumps, kind=average)
    print(f'How sure the recipe is: {row["Recipe"]}.')
    if len(dumps) > 1:
        print(f'Their {average} are averaged.')
    print(ensemble.format_accuracies(dumps, scores))
    found = ensemble.get_accuracies(scores, dumps[0].labels)[row['Metric']]
    print(f'{row["Metric"]} {found:.2f}, in the paper {row["Paper"]:.1f}')


if __name__ == '__main__':
    main()
