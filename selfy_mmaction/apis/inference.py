"""Predicting on video files."""
import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from mmaction.apis import init_recognizer
from mmaction.models.losses import BCELossWithLogits, CrossEntropyLoss
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from ..datasets.lists import numbered_classes, read_classes
from ..datasets.recipes import replace_decoder, stage_pipeline
from ..engine.checkpoint import (
    check_state_dict,
    get_state_dict,
    load_checkpoint,
)
from ..engine.checks import check_frames


def is_multi_label(head: nn.Module) -> bool:
    """Whether a head scores each class by itself, for several at once.

    Its loss says so: a cross entropy has soft labels, if any.
    """
    return (not isinstance(head.loss_cls, CrossEntropyLoss) and
            (head.multi_class or isinstance(head.loss_cls, BCELossWithLogits)))


def to_probabilities(head: nn.Module, logits: Tensor) -> Tensor:
    """Scores of a head, [..., K] => probabilities, of each class by itself
    if it is multi-label."""
    return logits.sigmoid() if is_multi_label(head) else logits.softmax(-1)


def predict_probabilities(model: BaseModel, batch: dict) -> Tensor:
    """Test a recognizer on N videos, and return probabilities [N, K]."""
    scores = torch.stack(
        [sample.pred_score for sample in model.test_step(batch)])
    head = model.cls_head
    if head.average_clips == 'prob':  # of a softmax
        return scores
    probabilities = to_probabilities(head, scores)
    # [N, V, K], V views, unless their logits are averaged
    return probabilities.mean(1) if scores.dim() == 3 else probabilities


class Predictor(ABC):
    """Predicts on video files.

    Args:
        cfg (Config): The config of the model. If its test pipeline reads raw
            frames, the frames are decoded from the video instead.
        model_file (str): The file of the model, for messages.
        names (list[str], optional): The names of the classes; by default
            numbers.
        num_classes (int): Number of classes.
        labels (str, optional): A file with one class name per line, which
            replaces ``names``.
    """

    # Keys that data sets add to each sample.
    _INPUT = dict(start_index=0, modality='RGB', label=-1)

    def __init__(self,
                 cfg: Config,
                 model_file: str,
                 names: list[str] | None,
                 num_classes: int,
                 labels: str | None = None) -> None:
        init_default_scope(cfg.get('default_scope', 'mmaction'))
        pipeline = [dict(step) for step in stage_pipeline(cfg, 'test')]
        replace_decoder(pipeline)
        self.pipeline = Compose(pipeline)
        self._sample, self._transform = _split(self.pipeline)
        if labels:
            names = read_classes(labels, num_classes, 'the model')
        self.model_file = model_file
        self.classes = names or numbered_classes(num_classes)
        if len(self.classes) != num_classes:
            raise ValueError(
                f'{model_file} names {len(self.classes)} classes, but the '
                f'model has {num_classes}: give --labels with as many.')

    def __call__(self, video: str, topk: int = 5) -> list[dict]:
        """Predict on a video.

        Args:
            video (str): The video file.
            topk (int): How many classes to return at most.

        Returns:
            list[dict]: ``label``, ``name`` and ``score`` (a probability) of
            the best classes, the best first.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it cannot be decoded.
        """
        return self._best(self.read(video), topk)

    def predict_frames(self,
                       frames: Sequence[np.ndarray],
                       sampled: dict,
                       topk: int = 5) -> list[dict]:
        """Predict on frames that were decoded elsewhere.

        Args:
            frames (Sequence[np.ndarray]): The frames of ``frame_inds`` in
                ``sampled``, RGB of type uint8, [H, W, 3] each.
            sampled (dict): The result of `sample`.
            topk (int): How many classes to return at most.

        Returns:
            list[dict]: As for a video.
        """
        shape = frames[0].shape[:2]
        results = dict(
            sampled, imgs=list(frames), original_shape=shape, img_shape=shape)
        return self._best(self._transform(results), topk)

    def sample(self, total_frames: int, fps: float) -> dict:
        """Choose frames as the test pipeline does.

        Args:
            total_frames (int): Number of frames.
            fps (float): Frames per second.

        Returns:
            dict: ``frame_inds``, the indices of the frames, and the other
            results of the pipeline's sampling.
        """
        results = self._sample(
            dict(self._INPUT, total_frames=total_frames, avg_fps=fps))
        return dict(results, frame_inds=results['frame_inds'].flatten())

    def _best(self, frames: dict, topk: int) -> list[dict]:
        """The best classes for a result of the pipeline."""
        scores, labels = self._probabilities(frames).sort(descending=True)
        if not scores.isfinite().all():
            raise ValueError(f'{self.model_file} gives scores that are not '
                             'finite: it is damaged, or is of another config.')
        return [
            dict(label=label, name=self.classes[label], score=score)
            for score, label in zip(
                scores[:topk].tolist(), labels[:topk].tolist(), strict=True)
        ]

    def read(self, video: str) -> dict:
        """Read a video through the test pipeline.

        Args:
            video (str): The video file.

        Returns:
            dict: ``inputs``, the frames of all views, [V * T, 3, H, W], and
            ``data_samples``.
        """
        return self.pipeline(dict(self._INPUT, filename=video))

    @abstractmethod
    def _probabilities(self, frames: dict) -> Tensor:
        """The result of `read` => the probabilities [classes]"""


class VideoPredictor(Predictor):
    """A trained recognizer that predicts on video files.

    Args:
        cfg (Config): Its config.
        checkpoint (str): Its checkpoint, which must fit the model exactly.
        device (str): Where to compute.
        labels (str, optional): A file with one class name per line. By
            default the names in the checkpoint or, if it has none, numbers.
    """

    def __init__(self,
                 cfg: Config,
                 checkpoint: str,
                 device: str,
                 labels: str | None = None) -> None:
        check_frames(cfg, 'test')
        saved = load_checkpoint(checkpoint)
        cfg = copy.deepcopy(cfg)
        try:
            torch.empty(0, device=device)
        except (AssertionError, RuntimeError) as error:
            raise ValueError(f'device {device}: {error}') from error
        self.model = init_recognizer(cfg, device=device)
        head = self.model.cls_head
        if head.average_clips != 'score':
            # MMAction2 averages the probabilities of a softmax alone.
            head.average_clips = None if is_multi_label(head) else 'prob'
        weights = get_state_dict(saved)
        check_state_dict(self.model, weights, checkpoint)
        self.model.load_state_dict(weights, strict=False)
        meta = saved.get('meta', {}).get('dataset_meta') or {}
        super().__init__(cfg, checkpoint, meta.get('classes'),
                         cfg.model.cls_head.num_classes, labels)

    def _probabilities(self, frames: dict) -> Tensor:
        batch = pseudo_collate([frames])
        with torch.no_grad():
            return predict_probabilities(self.model, batch)[0]


def _split(pipeline: Compose) -> tuple[Compose, Compose]:
    """The steps of a pipeline that sample frames, and those after decoding."""
    steps = pipeline.transforms
    types = [type(step).__name__ for step in steps]
    sample, decode = (
        next((i for i, name in enumerate(types) if part in name), -1)
        for part in ('Sample', 'Decode'))
    if not 0 <= sample < decode:
        raise ValueError('the test pipeline of the config does not sample '
                         f'frames and decode them: {", ".join(types)}.')
    return Compose(steps[sample:decode]), Compose(steps[decode + 1:])
