"""Draw the loss and the accuracy of trainings, side by side."""
import argparse

from selfy_mmaction.engine import errors, launch


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument(
        'work_dirs',
        nargs='+',
        metavar='WORK_DIR',
        help='work directories of trainings; a resumed one is one curve')
    parser.add_argument(
        '--keys',
        nargs='+',
        default=['loss', 'acc/top1'],
        help='values to draw, a panel each; loss and acc/top1 by default')
    parser.add_argument(
        '-o',
        '--out',
        default='curves.png',
        metavar='FILE.png',
        help='the picture to write; curves.png by default')
    return parser.parse_args()


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    from selfy_mmaction.evaluation.logs import load_curves
    from selfy_mmaction.visualization import charts

    runs = {work_dir: load_curves(work_dir) for work_dir in args.work_dirs}
    logged = sorted(set().union(*runs.values()))
    for key in args.keys:
        if key not in logged:
            raise ValueError(f'--keys {key} was not logged: '
                             f'{", ".join(logged)} were.')
    charts.draw_training(runs, args.keys, args.out)
    print(f'Drew {", ".join(args.keys)} to {args.out}.')


if __name__ == '__main__':
    main()
