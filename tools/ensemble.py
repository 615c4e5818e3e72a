"""Average the predictions of several tests and report on them.

The dumps are files of tools/test.py --dump: of networks with 8 and 16 frames,
for example, on the same list of videos. A single one is enough.
"""
import argparse
import sys

from selfy_mmaction.engine import errors, launch
from selfy_mmaction.evaluation.dumps import KINDS, load_dump


def parse_args() -> argparse.Namespace:
    parser = launch.ArgumentParser(__doc__)
    parser.add_argument('dumps', nargs='+', metavar='DUMP', help='.npz files')
    parser.add_argument(
        '--weights',
        nargs='+',
        type=float,
        help='weight of each dump; equal by default')
    parser.add_argument(
        '--average',
        choices=KINDS,
        default='probabilities',
        help='what to average; probabilities by default, which every dump '
        'has. The test code of TSM averages logits')
    parser.add_argument(
        '--labels',
        metavar='FILE',
        help='names of the classes, one per line; by default those in '
        'the dumps, or numbers')
    parser.add_argument(
        '--per-class',
        nargs='?',
        const='-',
        metavar='FILE.csv',
        help='write the accuracy of each class; without a file, print it')
    parser.add_argument(
        '--confusion', metavar='FILE.png', help='draw the confusion matrix')
    return parser.parse_args()


@errors.one_line_errors
def main() -> None:
    args = parse_args()
    from selfy_mmaction.datasets.lists import numbered_classes, read_classes
    from selfy_mmaction.evaluation import ensemble
    from selfy_mmaction.files import printable, write_text
    from selfy_mmaction.visualization import charts

    dumps = [load_dump(path) for path in args.dumps]
    scores = ensemble.average_scores(dumps, args.weights, args.average)
    labels = dumps[0].labels
    num_classes = scores.shape[1]
    classes = next((dump.classes for dump in dumps if dump.classes),
                   numbered_classes(num_classes))
    if args.labels:
        classes = read_classes(args.labels, num_classes, 'each dump')

    if len(dumps) > 1 and not all(dump.names for dump in dumps):
        print(
            'Not every dump names its samples: only the labels were compared.',
            file=sys.stderr)
    print(ensemble.format_accuracies(dumps, scores))

    matrix = ensemble.get_confusion_matrix(scores, labels)
    table = ensemble.format_class_table(matrix, classes)
    if args.per_class == '-':
        print('\n'.join(map(printable, table.splitlines())))
    elif args.per_class:
        write_text(args.per_class, table)
    if args.confusion:
        charts.draw_confusion_matrix(matrix, classes, args.confusion)


if __name__ == '__main__':
    main()
