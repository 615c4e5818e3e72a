"""Which classes a network confuses, and in which clips."""
from typing import NamedTuple

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from torch import Tensor

from ..datasets.bad_clips import base_datasets
from ..datasets.recipes import clip_frames
from . import dumps, ensemble


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
    errors = ensemble.get_confusion_matrix(scores, labels)
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


def check_dataset(dump: dumps.Dump, dataset: BaseDataset) -> None:
    """Raise a ValueError unless a dump is of the clips of a data set."""
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    listed = dumps.Dump(
        ', '.join(part.ann_file for part in base_datasets(dataset)),
        scores=np.empty((len(infos), dump.scores.shape[1])),
        kind=dump.kind,
        labels=np.array([info['label'] for info in infos]),
        names=dumps.sample_names(infos),
        classes=[])
    ensemble.check_same_samples([dump, listed])


def first_view(frames: Tensor, cfg: Config) -> np.ndarray:
    """The frames of the first view of a clip that a pipeline packed.

    Args:
        frames (Tensor): [V * T, 3, H, W] or [V, 3, T, H, W].
        cfg (Config): The config of the model, which sets T.

    Returns:
        np.ndarray: RGB of type uint8, [T, H, W, 3].
    """
    # [V, 3, T, H, W] => [V * T, 3, H, W]
    frames = frames.movedim(1, -3).flatten(0, -4)
    frames = frames[:clip_frames(cfg)]
    return frames.permute(0, 2, 3, 1).byte().numpy()
