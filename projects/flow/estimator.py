"""Optical flow of a video from its self-similarities, without training."""
import re
from collections.abc import Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from mmaction.models import ResNet
from torch import Tensor, nn

from selfy_mmaction.engine.checkpoint import get_state_dict, load_checkpoint
from selfy_mmaction.ops import soft_argmax, stss

# Pixels from one position of the first residual stage to the next.
STRIDE = 4
# The frame before and the one after.
_OFFSETS = (-1, 1)
_TEMPERATURE = 0.05
# Maximum forward-backward error in positions. Positions with a larger one are
# occluded, leave the frame or have no texture.
TOLERANCE = 1.0
# Reflection padding of a frame, in positions: the network's own padding with
# zeros would match itself.
_MARGIN = 4
_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class FlowEstimator:
    """Estimates where each position of a frame is in the next one.

    The features of a ResNet-18's first residual stage are compared by STSS,
    similarities are averaged over patches, and the soft-argmax is the
    displacement (Sec. 3.2).

    Args:
        weights (str, optional): Weights of a ResNet-18: those of ImageNet,
            such as 'torchvision://resnet18', or the checkpoint of a
            recognizer, whose shift is left out. By default a random
            initialisation with a fixed seed.
        reach (int): Largest displacement in positions, to each side.
            Defaults to 7, which is 28 pixels.
        patch (int): Side of the patches over which similarities are
            averaged, in positions; 1 is no average. Defaults to 9.
        peak (int): Side of the area around the highest similarity that the
            soft-argmax is over, in positions, for sub-position accuracy; 1
            is the argmax. Defaults to 5.

    Raises:
        ValueError: If the weights are not those of a ResNet-18.
    """

    def __init__(self,
                 weights: str | None = None,
                 reach: int = 7,
                 patch: int = 9,
                 peak: int = 5) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network = ResNet(
                18,
                num_stages=1,
                strides=(1, ),
                dilations=(1, ),
                out_indices=(0, ))
        if weights:
            _load(self.network, weights)
        self.network.train(False)
        self._window = (len(_OFFSETS), 2 * reach + 1, 2 * reach + 1)
        self._patch, self._peak = patch, peak

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Estimate the motion between consecutive frames.

        Args:
            frames (np.ndarray): RGB of type uint8, [T, H, W, 3], T > 1.

        Returns:
            np.ndarray: Displacements (x, y) in pixels, x to the right and y
            downwards, [T - 1, h, w, 2] for position (STRIDE * i, STRIDE * j)
            of each frame but the last; NaN where unknown.
        """
        flow, mismatch = self.match(frames)
        flow[mismatch > STRIDE * TOLERANCE] = float('nan')
        return flow

    @torch.no_grad()
    def match(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Estimate the motion everywhere, and its forward-backward error.

        Args:
            frames (np.ndarray): RGB of type uint8, [T, H, W, 3], T > 1.

        Returns:
            tuple[np.ndarray, np.ndarray]: Displacements as in `__call__`, but
            without NaN, and their forward-backward errors in pixels,
            [T - 1, h, w].
        """
        features = self._features(torch.from_numpy(frames))
        similarities = stss(features[None], self._window, offsets=_OFFSETS)[0]
        similarities = _average_patches(similarities, self._patch)
        # [T, h, w, L, U, V] => [T, h, w, L, 2]
        displacement, _ = soft_argmax(
            _around_peak(similarities, self._peak), _TEMPERATURE)
        displacement = displacement.flip(-1).numpy()
        there, back = displacement[:-1, :, :, 1], displacement[1:, :, :, 0]
        return STRIDE * there, STRIDE * get_mismatch(there, back)

    def _features(self, frames: Tensor) -> Tensor:
        """[T, H, W, 3] => [T, C, h, w], minus the mean of the clip."""
        x = (frames - torch.tensor(_MEAN)) / torch.tensor(_STD)
        # [T, H, W, 3] => [T, 3, H, W]
        x = x.permute(0, 3, 1, 2)
        x = F.pad(x, 4 * [STRIDE * _MARGIN], mode='reflect')
        x = self.network(x)[..., _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
        # What all positions share carries no information on the motion.
        return x - x.mean((0, 2, 3), keepdim=True)


def _load(network: nn.Module, weights: str) -> None:
    """Load weights under torchvision's names or a recognizer's.

    Without the shift, the features of a recognizer are those of a static
    clip.
    """
    given = {}
    for key, value in get_state_dict(load_checkpoint(weights)).items():
        # A shift wraps the convolution that it precedes.
        key = key.removeprefix('backbone.').replace('.net.', '.')
        key = re.sub(r'\bconv(\d)\.weight$', r'conv\1.conv.weight', key)
        given[re.sub(r'\bbn(\d)\.', r'conv\1.bn.', key)] = value
    state_dict = network.state_dict()
    for key, value in state_dict.items():
        # Old checkpoints do not count batches.
        if key.endswith('num_batches_tracked'):
            continue
        if key not in given or given[key].shape != value.shape:
            raise ValueError(
                f'{weights} has no {key} of shape {tuple(value.shape)}: give '
                'the weights of a ResNet-18.')
        state_dict[key] = given[key]
    network.load_state_dict(state_dict)


def _average_patches(similarities: Tensor, side: int) -> Tensor:
    """Average the similarities over patches of positions.

    Args:
        similarities (Tensor): [T, h, w, L, U, V]; 0, where there is no
            neighbour, stays 0.
        side (int): Side of a patch in positions.
    """
    T, h, w, L, U, V = similarities.shape
    # [T, h, w, L, U, V] => [T, L * U * V, h, w]
    maps = similarities.flatten(3).permute(0, 3, 1, 2)
    maps = F.avg_pool2d(maps, side, 1, side // 2, count_include_pad=False)
    averages = maps.permute(0, 2, 3, 1).view(T, h, w, L, U, V)
    return averages.masked_fill(similarities == 0, 0)


def _around_peak(similarities: Tensor, side: int) -> Tensor:
    """Keep the area around the highest similarity, as MotionSqueeze does.

    Args:
        similarities (Tensor): [..., U, V]; the rest becomes 0.
        side (int): Side of the area in positions.
    """
    peak = similarities == similarities.amax((-2, -1), keepdim=True)
    # [..., U, V] => [M, U, V]
    near = F.max_pool2d(
        peak.flatten(0, -3).float(), side, 1, padding=side // 2)
    return similarities * near.view(similarities.shape)


def get_mismatch(there: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Forward-backward error: distance from the start after both ways.

    Args:
        there (np.ndarray): Displacements (x, y) in positions, [T, h, w, 2].
        back (np.ndarray): Displacements back, of the frames they lead to.

    Returns:
        np.ndarray: Distances in positions, [T, h, w].
    """
    _, h, w, _ = there.shape
    y, x = np.mgrid[:h, :w]
    # From positions to the coordinates of grid_sample: (x, y) from -1 to 1.
    end = 2 * (np.stack([x, y], -1) + there) / np.maximum([w - 1, h - 1], 1)
    # [T, h, w, 2] => [T, 2, h, w] => [T, h, w, 2]
    back = F.grid_sample(
        torch.from_numpy(back).permute(0, 3, 1, 2),
        torch.from_numpy(end - 1).float(),
        align_corners=True,
        padding_mode='border').permute(0, 2, 3, 1).numpy()
    return np.linalg.norm(there + back, axis=-1)


def estimate_flow(estimator: FlowEstimator,
                  frames: Iterable[np.ndarray],
                  size: int = 8) -> Iterator[np.ndarray]:
    """Estimate the motion of a video of any length, a few frames at a time.

    Args:
        estimator (FlowEstimator): The estimator.
        frames (Iterable[np.ndarray]): RGB of type uint8, [H, W, 3] each.
        size (int): Number of frames to compare at a time. Defaults to 8.

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
