"""The motion of a video, read off its self-similarities, without training."""
from collections.abc import Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from mmaction.models import ResNet
from torch import Tensor

from .. import compat
from ..ops import soft_argmax, stss

# Pixels from one position of the first residual stage to the next.
STRIDE = 4
# Frames, rows and columns that a position is compared with: those of the
# frame before and of the one after. So many positions a side agree on one
# displacement.
_WINDOW, _OFFSETS = (2, 15, 15), (-1, 1)
_PATCH = 9
# The soft-argmax over the peak and its surroundings, so many positions a
# side, finds fractions of a position.
_PEAK = 5
_TEMPERATURE = 0.05
# Displacements there and back that do not cancel within so many positions
# belong to what is covered, leaves the picture or has no texture.
_TOLERANCE = 1.0
# Rows and columns of positions that a frame is continued by, mirrored: the
# network's own padding, zeros, would match itself.
_MARGIN = 4
_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class FlowEstimator:
    """Estimates where each position of a frame is in the next one.

    The features of a ResNet-18's first residual stage are compared by STSS,
    similarities are averaged over patches, and the soft-argmax is the
    displacement (Sec. 3.2). It finds up to 28 pixels to each side.

    Args:
        weights (str, optional): ImageNet weights of a ResNet-18, such as
            'torchvision://resnet18'. By default those that the network starts
            with, always the same.
    """

    def __init__(self, weights: str | None = None) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network = ResNet(
                18, weights, num_stages=1, strides=(1, ), dilations=(1, ),
                out_indices=(0, ))
            if weights:
                compat.load_safely()
                self.network.init_weights()
        self.network.train(False)

    @torch.no_grad()
    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Estimate the motion between neighbouring frames.

        Args:
            frames (np.ndarray): RGB of type uint8, [T, H, W, 3], T > 1.

        Returns:
            np.ndarray: Displacements (x, y) in pixels, x to the right and y
            downwards, [T - 1, h, w, 2] for position (STRIDE * i, STRIDE * j)
            of each frame but the last; NaN where unknown.
        """
        features = self._features(torch.from_numpy(frames))
        similarities = stss(features[None], _WINDOW, offsets=_OFFSETS)[0]
        # [T, h, w, L, U, V] => [T, h, w, L, 2]
        displacement, _ = soft_argmax(
            _around_peak(_average_patches(similarities)), _TEMPERATURE)
        there, back = displacement[:-1, :, :, 1], displacement[1:, :, :, 0]
        there[_mismatch(there, back) > _TOLERANCE] = float('nan')
        return STRIDE * there.flip(-1).numpy()

    def _features(self, frames: Tensor) -> Tensor:
        """[T, H, W, 3] => [T, C, h, w], the mean of the clip taken off."""
        x = (frames - torch.tensor(_MEAN)) / torch.tensor(_STD)
        # [T, H, W, 3] => [T, 3, H, W]
        x = x.permute(0, 3, 1, 2)
        x = F.pad(x, 4 * [STRIDE * _MARGIN], mode='reflect')
        x = self.network(x)[..., _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
        # What all positions share says nothing of where they went.
        return x - x.mean((0, 2, 3), keepdim=True)


def _average_patches(similarities: Tensor) -> Tensor:
    """Let the positions of a patch agree on one displacement.

    Args:
        similarities (Tensor): [T, h, w, L, U, V]; 0, where there is no
            neighbour, stays 0.
    """
    T, h, w, L, U, V = similarities.shape
    # [T, h, w, L, U, V] => [T, L * U * V, h, w]
    maps = similarities.flatten(3).permute(0, 3, 1, 2)
    maps = F.avg_pool2d(
        maps, _PATCH, 1, _PATCH // 2, count_include_pad=False)
    averages = maps.permute(0, 2, 3, 1).view(T, h, w, L, U, V)
    return averages.masked_fill(similarities == 0, 0)


def _around_peak(similarities: Tensor) -> Tensor:
    """Leave what is around the highest similarity, as MotionSqueeze does.

    Args:
        similarities (Tensor): [..., U, V]; what is left out becomes 0.
    """
    peak = similarities == similarities.amax((-2, -1), keepdim=True)
    # [..., U, V] => [M, U, V]
    near = F.max_pool2d(
        peak.flatten(0, -3).float(), _PEAK, 1, padding=_PEAK // 2)
    return similarities * near.view(similarities.shape)


def _mismatch(there: Tensor, back: Tensor) -> Tensor:
    """How far from its start a position ends up there and back again.

    Args:
        there (Tensor): Displacements (y, x) in positions, [T, h, w, 2].
        back (Tensor): The same of the frames that they lead to.

    Returns:
        Tensor: Distances in positions, [T, h, w].
    """
    T, h, w, _ = there.shape
    start = torch.stack(
        torch.meshgrid(torch.arange(h), torch.arange(w), indexing='ij'), -1)
    # From positions to what grid_sample takes: (x, y) from -1 to 1.
    end = 2 * (start + there) / (torch.tensor([h, w]) - 1).clamp(min=1) - 1
    back = F.grid_sample(
        back.permute(0, 3, 1, 2), end.flip(-1), align_corners=True,
        padding_mode='border').permute(0, 2, 3, 1)
    return (there + back).norm(dim=-1)


def estimate_flow(estimator: FlowEstimator,
                  frames: Iterable[np.ndarray],
                  size: int = 8) -> Iterator[np.ndarray]:
    """Estimate the motion of a video of any length, a few frames at a time.

    Args:
        estimator (FlowEstimator): What estimates it.
        frames (Iterable[np.ndarray]): RGB of type uint8, [H, W, 3] each.
        size (int): How many frames to compare at a time. Defaults to 8.

    Yields:
        np.ndarray: Displacements from a frame to the next, [h, w, 2].
    """
    clip = []
    for frame in frames:
        clip.append(frame)
        if len(clip) > size:
            yield from estimator(np.stack(clip))
            clip = clip[-1:]
    if len(clip) > 1:
        yield from estimator(np.stack(clip))
