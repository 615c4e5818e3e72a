"""Measure the op, the block and whole networks; print a table.

What is compared is checked first, and runs in turn.
"""
import argparse

import block
import network
import op
import torch
from measure import HEAD, describe_machine
from mmengine.device import get_device

from selfy_mmaction.engine import errors, launch
from selfy_mmaction.evaluation.tables import format_row, format_table

PARTS = dict(
    op=op.benchmark,
    block=block.benchmark,
    network=network.benchmark,
    onnx=network.benchmark_onnx)


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument(
        'parts',
        nargs='*',
        metavar='PART',
        help=f'what to measure, of {", ".join(PARTS)}; by default all')
    parser.add_argument(
        '--device', default=get_device(), help='a GPU if there is one')
    parser.add_argument(
        '--rounds',
        type=int,
        default=5,
        help='runs per measurement; the median is shown')
    return parser.parse_args()


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    if args.rounds < 1:
        raise ValueError(f'--rounds {args.rounds}: give 1 or more.')
    for part in args.parts:
        if part not in PARTS:
            raise ValueError(f'part {part} is unknown: give some of '
                             f'{", ".join(PARTS)}.')
    torch.manual_seed(0)
    # Whatever the environment allows: parity is that of float32.
    torch.set_float32_matmul_precision('highest')
    device = torch.device(args.device)
    print(format_table(HEAD, []), flush=True)
    for part in args.parts or PARTS:
        for row in PARTS[part](device, args.rounds):
            print(format_row(row), flush=True)
    print(f'\n{describe_machine(device)}')


if __name__ == '__main__':
    main()
