"""Transforms that MMAction2 lacks."""
import random
from collections.abc import Sequence
from os.path import splitext

import mmcv
import numpy as np
import torch
from mmaction.datasets.transforms import Flip, Resize
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform
from mmengine.dataset import Compose
from mmengine.fileio import list_from_file

from .video import VideoFile


@TRANSFORMS.register_module()
class PillowResize(Resize):
    """Resize by PIL's bilinear filter, as the official code does.

    When it shrinks a frame, this filter averages over all pixels. OpenCV's,
    which MMAction2's ``Resize`` uses, reads only four of them, which causes
    aliasing.

    Required and modified keys are those of ``Resize``.

    Args:
        scale (tuple[int, int]): Width and height, or their upper bounds;
            -1 and a number for the length of the shorter side.
        keep_ratio (bool): Whether to keep the aspect ratio. Defaults to True.
    """

    def __init__(self,
                 scale: tuple[int, int],
                 keep_ratio: bool = True) -> None:
        super().__init__(scale, keep_ratio)

    def _resize_imgs(self, imgs: Sequence[np.ndarray], new_w: int,
                     new_h: int) -> list[np.ndarray]:
        return [
            mmcv.imresize(img, (new_w, new_h), backend='pillow')
            for img in imgs
        ]


@TRANSFORMS.register_module()
class SelectiveFlip(BaseTransform):
    """Flip that skips the clips of some classes.

    A flip turns "Pushing something from left to right" into its opposite.
    MMAction2's ``Flip`` can change the label of such a clip; this transform
    does not flip it, as in the official code. The classes are given by name,
    since their numbers depend on the class list of a data set.

    Required and modified keys are those of ``Flip``, and "label".

    Args:
        frozen_classes (Sequence[str]): Names of the classes that are never
            flipped.
        classes (str | Sequence[str]): Names of all classes in the order of
            the labels, or a text file with one name per line.
        flip_ratio (float): Probability of a flip for the other classes.
            Defaults to 0.5.
        **kwargs: Further arguments of ``Flip``.
    """

    def __init__(self,
                 frozen_classes: Sequence[str],
                 classes: str | Sequence[str],
                 flip_ratio: float = 0.5,
                 **kwargs) -> None:
        source = 'classes'
        if isinstance(classes, str):
            source, classes = classes, list_from_file(classes)
        classes = list(classes)
        unknown = [name for name in frozen_classes if name not in classes]
        if unknown:
            raise ValueError(
                f'frozen_classes names {unknown[0]!r}, which is not one of '
                f'the {len(classes)} classes of {source}: spell it as there.')
        self.frozen_labels = {classes.index(name) for name in frozen_classes}
        self.flip = Flip(flip_ratio=flip_ratio, **kwargs)
        self.keep = Flip(flip_ratio=0, **kwargs)

    def transform(self, results: dict) -> dict:
        """Flip the clip, or mark it as not flipped."""
        frozen = results['label'] in self.frozen_labels
        return self.keep(results) if frozen else self.flip(results)

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(flip={self.flip}, '
                f'frozen_labels={sorted(self.frozen_labels)})')


@TRANSFORMS.register_module()
class VideoInit(BaseTransform):
    """Open a video, before its frames are sampled.

    Required keys are "filename"; added keys are "video_reader",
    "total_frames" and "avg_fps". See :class:`.video.VideoFile`.
    """

    def transform(self, results: dict) -> dict:
        """Open the video."""
        name = results['filename']
        # Lists of MMAction2 may leave out this ending.
        video = VideoFile(name if splitext(name)[1] else f'{name}.mp4')
        results.update(
            video_reader=video, total_frames=len(video), avg_fps=video.fps)
        return results


@TRANSFORMS.register_module()
class VideoDecode(BaseTransform):
    """Decode the sampled frames of a video, and close it.

    Required keys are "video_reader", which is removed, and "frame_inds";
    added keys are "imgs", "original_shape", "img_shape" and "frame_times",
    when each frame is shown, in seconds from the first of the video.
    """

    def transform(self, results: dict) -> dict:
        """Decode the frames."""
        indices = np.ravel(results['frame_inds'])
        with results.pop('video_reader') as video:
            frames = video.frames(indices)
        results.update(
            frame_inds=indices,
            frame_times=video.times[indices],
            imgs=[*frames],
            original_shape=video.size,
            img_shape=video.size)
        return results


class SeededPipeline:
    """A pipeline that draws the same numbers for a clip in the same epoch.

    They depend only on the seed, the epoch and the clip. So they are the same
    with any number of data loading processes and GPUs, and after a restart.

    Args:
        pipeline (Compose): The transforms.
        seed (int): The seed of the training.
    """

    def __init__(self, pipeline: Compose, seed: int) -> None:
        self.pipeline = pipeline
        self.seed = seed
        # Data loading processes may live longer than an epoch.
        self.epoch = torch.zeros((), dtype=torch.long).share_memory_()
        self._replaces = False

    def __call__(self, results: dict) -> dict | None:
        """Transform a clip, or the replacement of a bad one."""
        # Seeding again for the replacement would repeat a sample.
        if not self._replaces:
            np.random.seed(
                [self.seed,
                 self.epoch.item(), results['sample_idx']])
            random.seed(np.random.randint(2**31))
            torch.default_generator.manual_seed(np.random.randint(2**31))
        results = self.pipeline(results)
        self._replaces = results is None
        return results

    def __repr__(self) -> str:
        return repr(self.pipeline)
