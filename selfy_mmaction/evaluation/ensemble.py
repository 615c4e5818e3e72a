"""The scores of several tests of the same samples, averaged and reported."""
import csv
import io
from collections.abc import Sequence

import numpy as np
from mmaction.evaluation import AccMetric, ConfusionMatrix, get_weighted_score

from .dumps import Dump
from .tables import format_columns


def check_same_samples(dumps: Sequence[Dump]) -> None:
    """Raise unless all dumps are of the same samples, in the same order."""
    first = dumps[0]
    remedy = 'test both on the same list.'
    for other in dumps[1:]:
        if first.scores.shape != other.scores.shape:
            counts = [
                '{} has {} samples of {} classes'.format(
                    dump.path, *dump.scores.shape) for dump in (first, other)
            ]
            raise ValueError(f'{counts[0]}, but {counts[1]}: {remedy}')
        pairs = [('label', first.labels, other.labels)]
        if first.names and other.names:
            pairs.insert(0, ('name', first.names, other.names))
        for what, ours, theirs in pairs:
            differ = np.flatnonzero(np.array(ours) != np.array(theirs))
            if len(differ):
                i = differ[0]
                name = f' ({first.names[i]})' if first.names else ''
                raise ValueError(
                    f'{len(differ)} of {len(ours)} samples have another '
                    f'{what}: number {i}{name} has {what} {ours[i]} in '
                    f'{first.path} and {theirs[i]} in {other.path}; {remedy}')


def average_scores(dumps: Sequence[Dump],
                   weights: Sequence[float] | None = None,
                   kind: str = 'probabilities') -> np.ndarray:
    """Average the scores of several tests.

    Args:
        dumps (Sequence[Dump]): Dumps of the same samples.
        weights (Sequence[float], optional): The weight of each; equal by
            default.
        kind (str): What to average, 'probabilities' or 'logits'. Defaults to
            'probabilities', which every dump has.

    Returns:
        np.ndarray: The averages, [N, K].

    Raises:
        ValueError: If the dumps are of different samples, if one has no
            logits, or if the weights do not fit.
    """
    weights = weights or [1] * len(dumps)
    if len(weights) != len(dumps):
        raise ValueError(f'--weights gives {len(weights)} numbers for '
                         f'{len(dumps)} dumps: give one for each.')
    if min(weights) < 0 or not 0 < sum(weights) < float('inf'):
        raise ValueError(f'--weights {weights}: give positive numbers.')
    check_same_samples(dumps)
    scores = get_weighted_score([_get_scores(dump, kind) for dump in dumps],
                                weights)
    return np.array(scores) / sum(weights)


def _get_scores(dump: Dump, kind: str) -> np.ndarray:
    if kind == 'probabilities':
        return dump.probabilities
    if dump.kind != kind:
        raise ValueError(f'{dump.path} holds {dump.kind}, and no {kind} to '
                         'average: test with --cfg-options '
                         'model.cls_head.average_clips=score.')
    return dump.scores


def get_accuracies(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The accuracies in percent, under the names of OpenMMLab's tables."""
    found = AccMetric().calculate(list(scores), labels.tolist())
    return {
        'Top 1 Accuracy': 100 * float(found['top1']),
        'Top 5 Accuracy': 100 * float(found['top5']),
        'Mean Class Accuracy': 100 * float(found['mean1'])
    }


def format_accuracies(dumps: Sequence[Dump], average: np.ndarray) -> str:
    """A table of the accuracies of dumps and, if there are several, of the
    average of their scores, [N, K]."""
    labels = dumps[0].labels
    scores = {dump.path: dump.scores for dump in dumps}
    if len(dumps) > 1:
        scores['together'] = average
    return format_columns(
        [(f'{len(labels)} samples', 'top-1', 'top-5', 'mean class'),
         *((name, *(f'{x:.2f}' for x in get_accuracies(of, labels).values()))
           for name, of in scores.items())], 12)


def get_confusion_matrix(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Number of samples by true class (row) and predicted class (column)."""
    return ConfusionMatrix.calculate(scores, labels).numpy()


def format_class_table(matrix: np.ndarray, classes: Sequence[str]) -> str:
    """The accuracy of each class as CSV, the worst first.

    Args:
        matrix (np.ndarray): The confusion matrix, [K, K].
        classes (Sequence[str]): The names of the classes.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(
        ['label', 'class', 'samples', 'accuracy', 'most often taken for'])
    counts = matrix.sum(1)
    tested = np.flatnonzero(counts)
    accuracies = 100 * matrix.diagonal() / counts.clip(1)
    for i in tested[np.argsort(accuracies[tested], kind='stable')]:
        errors = matrix[i].copy()
        errors[i] = 0
        mistaken = classes[errors.argmax()] if errors.any() else ''
        writer.writerow(
            [i, classes[i], counts[i], f'{accuracies[i]:.2f}', mistaken])
    return file.getvalue()
