"""Optical flow of a video from its self-similarities, without training."""
import re
from collections.abc import Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfy_mmaction.engine.checkpoint import get_state_dict, load_checkpoint
from selfy_mmaction.ops import soft_argmax, stss
from selfy_mmaction.registry import MODELS

# Pixels from one position of the first residual stage to the next.
STRIDE = 4
# The frame before and the one after.
_OFFSETS = (-1, 1)
# In positions: the largest displacement to each side, the side of the patches
# over which similarities are averaged, and of the area around the highest one
# that the soft-argmax is over.
_REACH, _PATCH, _PEAK = 7, 9, 5
_TEMPERATURE = 0.05
# Maximum forward-backward error in positions. Positions with a larger one are
# occluded, leave the frame or have no texture.
_TOLERANCE = 1.0
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

    Raises:
        ValueError: If the weights are not those of a ResNet-18.
    """

    def __init__(self, weights: str | None = None) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network = MODELS.build(
                dict(
                    type='mmaction.ResNet',
                    depth=18,
                    num_stages=1,
                    strides=(1, ),
                    dilations=(1, ),
                    out_indices=(0, )))
        if weights:
            _load(self.network, weights)
        self.network.train(False)

    @torch.no_grad()
    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Estimate the motion between consecutive frames.

        Args:
            frames (np.ndarray): RGB of type uint8, [T, H, W, 3], T > 1.

        Returns:
            np.ndarray: Displacements (x, y) in pixels, x to the right and y
            downwards, [T - 1, h, w, 2] for position (STRIDE * i, STRIDE * j)
            of each frame but the last; NaN where unknown.
        """
        window = len(_OFFSETS), 2 * _REACH + 1, 2 * _REACH + 1
        similarities = stss(
            self._features(frames)[None], window, offsets=_OFFSETS)[0]
        # [T, h, w, L, U, V] => [T, h, w, L, 2]
        displacement, _ = soft_argmax(
            _around_peak(_average_patches(similarities)), _TEMPERATURE)
        there, back = displacement[:-1, :, :, 1], displacement[1:, :, :, 0]
        error = forward_backward_error(there, back)
        flow = there.masked_fill(error[..., None] > _TOLERANCE, float('nan'))
        return STRIDE * flow.flip(-1).numpy()

    def _features(self, frames: np.ndarray) -> Tensor:
        """[T, H, W, 3] => [T, C, h, w], minus the mean of the clip."""
        x = (torch.from_numpy(frames) -
             torch.tensor(_MEAN)) / torch.tensor(_STD)
        # [T, H, W, 3] => [T, 3, H, W]
        x = F.pad(x.permute(0, 3, 1, 2), 4 * [STRIDE * _MARGIN], 'reflect')
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


def _average_patches(similarities: Tensor) -> Tensor:
    """Average [T, h, w, L, U, V] over patches of positions.

    0, where there is no neighbour, stays 0.
    """
    # [T, h, w, L, U, V] => [T, L * U * V, h, w]
    maps = similarities.flatten(3).permute(0, 3, 1, 2)
    # rows, then columns: a fifth of the sums
    for side in (_PATCH, 1), (1, _PATCH):
        maps = F.avg_pool2d(
            maps, side, 1, [n // 2 for n in side], count_include_pad=False)
    averages = maps.permute(0, 2, 3, 1).view_as(similarities)
    return averages.masked_fill(similarities == 0, 0)


def _around_peak(similarities: Tensor) -> Tensor:
    """Keep the area around the highest of [..., U, V], as MotionSqueeze does;
    the rest becomes 0."""
    U, V = similarities.shape[-2:]
    # [..., U, V] => [..., 1, 1]
    peak = similarities.flatten(-2).argmax(-1)[..., None, None]
    rows, columns = torch.arange(U)[:, None], torch.arange(V)
    far = torch.maximum((rows - peak // V).abs(), (columns - peak % V).abs())
    return similarities.masked_fill(far > _PEAK // 2, 0)


def forward_backward_error(there: Tensor, back: Tensor) -> Tensor:
    """Distance from the start after both ways, in positions, [T, h, w].

    Both are displacements (y, x) in positions, [T, h, w, 2]; those back are of
    the frames that the others lead to.
    """
    h, w = there.shape[1:3]
    start = torch.stack(
        torch.meshgrid(torch.arange(h), torch.arange(w), indexing='ij'), -1)
    last = torch.tensor([h - 1, w - 1]).clamp(min=1)
    # From positions (y, x) to the (x, y) of grid_sample, from -1 to 1.
    end = (2 * (start + there) / last - 1).flip(-1)
    # [T, h, w, 2] => [T, 2, h, w] => [T, h, w, 2]
    back = F.grid_sample(
        back.permute(0, 3, 1, 2),
        end,
        align_corners=True,
        padding_mode='border').permute(0, 2, 3, 1)
    return (there + back).norm(dim=-1)


def estimate_flow(estimator: FlowEstimator,
                  frames: Iterable[np.ndarray],
                  size: int = 8) -> Iterator[np.ndarray]:
    """Estimate the motion of a video of any length, a few frames at a time.

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
