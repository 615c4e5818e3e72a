"""Which classes a network confuses, and in which clips."""
from typing import NamedTuple

import numpy as np

from .ensemble import get_confusion_matrix


class Confusion(NamedTuple):
    """Clips of one class that were predicted as another."""
    truth: int
    found: int
    clips: np.ndarray  # their indices, the most confident mistake first
    total: int  # number of clips of the true class


def find_confusions(scores: np.ndarray, labels: np.ndarray,
                    limit: int) -> list[Confusion]:
    """Find the pairs of classes with the most mistakes.

    Args:
        scores (np.ndarray): The probabilities, [N, K].
        labels (np.ndarray): The true classes, [N].
        limit (int): Maximum number of pairs to return.

    Returns:
        list[Confusion]: The most frequent first.
    """
    errors = get_confusion_matrix(scores, labels)
    totals = errors.sum(1)
    np.fill_diagonal(errors, 0)
    answers = scores.argmax(1)
    confusions = []
    pairs = np.argsort(-errors, axis=None, kind='stable')[:limit]
    for truth, found in zip(
            *np.unravel_index(pairs, errors.shape), strict=True):
        if errors[truth, found]:
            clips = np.flatnonzero((labels == truth) & (answers == found))
            clips = clips[np.argsort(-scores[clips, found], kind='stable')]
            confusions.append(Confusion(truth, found, clips, totals[truth]))
    return confusions
