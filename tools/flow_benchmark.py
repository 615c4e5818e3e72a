"""Measure the flow of STSS against the ground truth of a stereo pair.

The two views of the pair, which comes with scikit-image and has measured
disparities, serve as two frames. Writes table.md, errors beside those of
OpenCV's Farneback and DIS flow, and flow.jpg, the flow beside the truth.
Nothing is trained.
"""
import argparse
from pathlib import Path

from selfy_mmaction.analysis import stereo
from selfy_mmaction.engine import errors, launch
from selfy_mmaction.files import write_text
from selfy_mmaction.visualization.stereo import draw_comparison

CHECKPOINTS = Path(__file__).resolve().parent.parent / 'checkpoints'


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument(
        '--weights',
        nargs='+',
        default=[
            *map(str, CHECKPOINTS.glob('selfy_tsm_r18_motion_2*.pth')),
            'torchvision://resnet18'
        ],
        help='weights of ResNet-18s whose features to compare, besides random '
        'ones: files, torchvision://resnet18 or checkpoints of recognizers; '
        "those of the quickstart's network and of ImageNet by default")
    parser.add_argument(
        '--shrink',
        nargs='+',
        type=int,
        default=[2, 4],
        metavar='FACTOR',
        help='factors to shrink the photographs by; 2 4 by default. The '
        'picture shows the first')
    parser.add_argument(
        '--out',
        type=Path,
        default='work_dirs/flow_benchmark',
        help='folder of the results; work_dirs/flow_benchmark by default')
    return parser.parse_args()


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    for factor in args.shrink:
        if not 1 <= factor <= 8:
            raise ValueError(f'--shrink {factor}: give 1 to 8.')
    with launch.log_to_stderr():
        comparisons = [
            stereo.Comparison(stereo.load_pair(factor), args.weights)
            for factor in args.shrink
        ]
    table = stereo.tabulate(comparisons)
    write_text(args.out / 'table.md', table + '\n')
    draw_comparison(comparisons[0], args.out / 'flow.jpg')
    print(f'{args.out}/table.md:\n{table}\n{args.out}/flow.jpg')


if __name__ == '__main__':
    main()
