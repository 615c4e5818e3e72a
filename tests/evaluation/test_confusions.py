"""Which classes are confused, and in which clips."""
import numpy as np

from selfy_mmaction.evaluation.confusions import find_confusions


def test_clips_of_a_confusion_are_its_surest():
    labels = np.array([0, 0, 0, 0, 1])
    sure = np.array([.6, .9, .2, .7, .8])
    scores = np.stack([1 - sure, sure], axis=1)
    confusion, = find_confusions(scores, labels, limit=5)
    assert confusion[:2] == (0, 1)
    assert confusion.clips.tolist() == [1, 3, 0] and confusion.total == 4
