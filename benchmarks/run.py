"""Measure the op, the block and whole networks; print a table.

On a GPU with Triton, the kernels of the op come first: whether they compute
what PyTorch's operators and the reference do, then their speed.
"""
import argparse

import kernels
import torch
from mmengine.device import get_device
from speed import PARTS
from stopwatch import Stopwatch, describe_machine

from selfy_mmaction.engine import errors, launch
from selfy_mmaction.evaluation.tables import format_row, format_table


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument(
        'parts',
        nargs='*',
        choices=[*PARTS, []],
        default=[],
        help=f'what to measure, of {", ".join(PARTS)}; all that the device '
        'can run by default')
    parser.add_argument(
        '--device', default=get_device(), help='a GPU if there is one')
    parser.add_argument(
        '--rounds',
        type=int,
        default=11,
        help='runs per measurement; the median is shown')
    return parser.parse_args()


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    if args.rounds < 1:
        raise ValueError(f'--rounds {args.rounds}: give 1 or more.')
    torch.manual_seed(0)
    # Whatever the environment allows: parity is that of float32.
    torch.set_float32_matmul_precision('highest')
    device = torch.device(args.device)
    watch = Stopwatch(device, args.rounds)
    print(format_table(['what', 'measured', 'compared'], []), flush=True)
    parts = [p for p in PARTS if p != 'kernels' or kernels.can_run(device)]
    for part in args.parts or parts:
        for row in PARTS[part](watch):
            print(format_row(row), flush=True)
    print(f'\n{describe_machine(device)}; the floor is the multiply-adds at '
          f'{2e-9 * watch.macs_per_second:.0f} GFLOP/s, which a matrix '
          'product reached in the same run.')


if __name__ == '__main__':
    main()
