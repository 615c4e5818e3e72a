"""Predicting on video files."""
import copy
import os.path as osp

import torch
from mmaction.apis import inference_recognizer, init_recognizer
from mmaction.utils import get_str_type
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.fileio import list_from_file
from mmengine.runner import CheckpointLoader

from .checkpoint import check_checkpoint, check_state_dict, get_state_dict


class VideoPredictor:
    """A trained recognizer that predicts on video files.

    Args:
        cfg (Config): The config of the recognizer. Where its test pipeline
            reads raw frames, the frames are decoded from the video instead.
        checkpoint (str): Its checkpoint, which must fill the model exactly.
        device (str): Where to compute.
        labels (str, optional): A file with the name of a class per line. By
            default the names in the checkpoint or, if it has none, numbers.
    """

    def __init__(self,
                 cfg: Config,
                 checkpoint: str,
                 device: str,
                 labels: str | None = None) -> None:
        check_checkpoint(checkpoint)
        cfg = copy.deepcopy(cfg)
        cfg.model.cls_head.average_clips = 'prob'
        try:
            torch.empty(0, device=device)
        except (AssertionError, RuntimeError) as error:
            raise ValueError(f'device {device}: {error}') from error
        self.model = init_recognizer(cfg, device=device)
        saved = CheckpointLoader.load_checkpoint(checkpoint, 'cpu')
        weights = get_state_dict(saved)
        check_state_dict(self.model, weights, checkpoint)
        self.model.load_state_dict(weights, strict=False)
        self.pipeline = Compose(_video_pipeline(cfg))

        if labels:
            names = [name for name in list_from_file(labels) if name]
        else:
            meta = saved.get('meta', {}).get('dataset_meta') or {}
            names = meta.get('classes')
        num_classes = cfg.model.cls_head.num_classes
        self.classes = names or [f'class {i}' for i in range(num_classes)]
        if len(self.classes) != num_classes:
            raise ValueError(
                f'{labels or checkpoint} names {len(self.classes)} classes, '
                f'but the model has {num_classes}: give a file with as many.')

    def __call__(self, video: str, topk: int = 5) -> list[dict]:
        """Predict on a video.

        Args:
            video (str): The video file.
            topk (int): How many classes to return, at most.

        Returns:
            list[dict]: ``label``, ``name`` and ``score`` (a probability) of
            the best classes, the best first.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it cannot be decoded.
        """
        if not osp.isfile(video):
            raise FileNotFoundError(f'video {video} does not exist.')
        result = inference_recognizer(self.model, video, self._decode)
        scores, labels = result.pred_score.sort(descending=True)
        return [
            dict(label=label, name=self.classes[label], score=score)
            for score, label in zip(
                scores[:topk].tolist(), labels[:topk].tolist(), strict=True)
        ]

    def _decode(self, results: dict) -> dict:
        video = results['filename']
        try:
            return self.pipeline(results)
        # What is raised depends on the decoder, and on how a file is broken.
        except Exception as error:
            raise ValueError(f'{video} cannot be decoded as a video: '
                             f'{type(error).__name__}.') from error


def _video_pipeline(cfg: Config) -> list[dict]:
    """The test pipeline of a config, reading a video file."""
    steps = cfg.test_dataloader.dataset.pipeline
    types = [get_str_type(step['type']) for step in steps]
    if 'RawFrameDecode' not in types:
        return steps
    steps = list(steps)
    steps[types.index('RawFrameDecode')] = dict(type='DecordDecode')
    return [dict(type='DecordInit'), *steps]
