"""What a SELFY block computes on a video."""
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from mmaction.models import Recognizer2D
from torch import Tensor, nn

from ..models import SELFYBlock
from ..ops import soft_argmax, within_map
from .inference import VideoPredictor

# Frame, row and column of the STSS.
Position = tuple[int, int, int]


@dataclass
class SelfSimilarity:
    """The STSS of a clip in a SELFY block, and what the block adds.

    Attributes:
        frames (np.ndarray): The input frames of the network, resized and
            cropped, RGB of type uint8, [T, H, W, 3].
        similarities (Tensor): The STSS, [T, h, w, L, U, V].
        offsets (tuple[int, ...]): The L frames that each is compared with,
            counted from its own.
        energy (Tensor): Norm of the vector that the block adds to the
            features of each position, [T, h, w].
        predictions (list[dict]): The predictions for the video, see
            :class:`~selfy_mmaction.apis.inference.Predictor`.
    """
    frames: np.ndarray
    similarities: Tensor
    offsets: tuple[int, ...]
    energy: Tensor
    predictions: list[dict]

    @property
    def stride(self) -> int:
        """Pixels from one position to the next.

        Every layer halves the size, rounding up, so it is a power of 2.
        """
        pixels = self.frames.shape[1] / self.energy.shape[1]
        return 2**math.ceil(math.log2(pixels))

    def strongest(self, count: int) -> list[Position]:
        """The positions with the most energy, local maxima in space and time.

        They are chosen inside of the clip and of its frames, where no
        neighbour is missing, and where something moves, as far as there are
        such positions. If the block adds nothing, as before training, it is
        the middle.
        """
        if not self.energy.any():
            T, h, w = self.energy.shape
            return [(T // 2, h // 2, w // 2)]
        inner = self._inner()
        for candidates in inner & self._moving(), inner, True:
            energy = self.energy.where(torch.as_tensor(candidates), 0)
            if energy.any():
                break
        around = F.max_pool3d(energy[None], 3, stride=1, padding=1)[0]
        peaks = energy.where(energy == around, 0).flatten()
        best = peaks.topk(min(count, int(peaks.count_nonzero()))).indices
        return [
            tuple(map(int, np.unravel_index(i, self.energy.shape)))
            for i in best.tolist()
        ]

    def _inner(self) -> Tensor:
        """Which positions have all neighbours, [T, h, w].

        Of the window's places in a frame, the next ones are enough.
        """
        inner = torch.zeros(self.energy.shape, dtype=torch.bool)
        first = max(0, -min(self.offsets))
        end = len(inner) - max(0, max(self.offsets))
        inner[first:end, 1:-1, 1:-1] = True
        return inner

    def _moving(self) -> Tensor:
        """Which positions move steadily, by a cell and more, [T, h, w]."""
        # NaN, beyond the ends of the clip, is no motion.
        length, error = self._motion()
        return torch.from_numpy((length >= self.stride)
                                & (error < self.stride / 2))

    def _motion(self) -> np.ndarray:
        """Length and unsteadiness of the motions, in pixels, [2, T, h, w].

        A displacement that does not go on in the other frames is mostly a
        mistake, as on a surface without texture. NaN beyond the clip's ends.
        """
        steps = np.array(self.offsets)
        others = steps != 0
        if not others.any():
            return np.zeros((2, *self.energy.shape))
        # [T, L, h, w, 2], without the frame itself
        moves = np.stack(
            [self.displacements(t)[others] for t in range(len(self.energy))])
        steps = steps[others, None, None, None]
        rate = (moves / steps).mean(1, keepdims=True)
        error = np.linalg.norm(moves - steps * rate, axis=-1).max(1)
        length = np.linalg.norm(np.abs(steps).max() * rate, axis=-1)[:, 0]
        return np.stack([length, error])

    def clearest(self) -> Position:
        """Where similarities move most and steadily, and are most distinct.

        It is inside of the frames, in a frame with all neighbours in time.
        Where nothing moves, it is where the block adds most.
        """
        others = np.array(self.offsets) != 0
        scores = np.zeros(self.energy.shape)
        if others.any():
            length, error = self._motion()
            distinct = np.stack([
                self.distinctness(t)[others].min(0)
                for t in range(len(scores))
            ])
            scores = (length - 2 * error).clip(0) * distinct
        scores = np.where(self._inner(), scores, 0)
        if not scores.any():
            return self.strongest(1)[0]
        return tuple(map(int, np.unravel_index(scores.argmax(), scores.shape)))

    def distinctness(self, t: int) -> np.ndarray:
        """How much the most similar place stands out from those around it.

        Returns:
            np.ndarray: For the places of frame t, the highest similarity
            minus the third quartile, [L, h, w]; NaN beyond the ends of the
            clip.
        """
        # [h, w, L, U, V] => [L, h, w, U * V]; 0 is a place outside the clip
        maps = self.similarities[t].flatten(-2).permute(2, 0, 1, 3)
        maps = maps.where(maps != 0, float('nan'))
        highest = maps.nan_to_num(-math.inf).amax(-1)
        return (highest - maps.nanquantile(0.75, -1)).numpy()

    @property
    def within_map(self) -> Tensor:
        """Which neighbours of a position are on the map, [h, w, U, V]."""
        h, w, _, U, V = self.similarities.shape[1:]
        return within_map(h, w, U, V)

    def beyond_clip(self, t: int) -> list[bool]:
        """Which neighbours of frame t are beyond the clip's ends, [L]."""
        T = len(self.similarities)
        return [not 0 <= t + offset < T for offset in self.offsets]

    def check(self, position: Position) -> None:
        """Raise a ValueError unless there is such a position."""
        shape = tuple(self.energy.shape)
        if not all(0 <= i < n for i, n in zip(position, shape, strict=True)):
            T, h, w = shape
            raise ValueError(
                f'position {position} is outside the map: give a frame from '
                f'0 to {T - 1}, a row from 0 to {h - 1} and a column from 0 '
                f'to {w - 1}.')

    def displacements(self, t: int) -> np.ndarray:
        """Displacements of the positions of frame t to its L neighbours.

        Returns:
            np.ndarray: Displacements (x, y) in pixels, [L, h, w, 2]; NaN
            beyond the ends of the clip.
        """
        # [h, w, L, U, V] => [h, w, L, 2], (vertical, horizontal) in cells
        cells, _ = soft_argmax(
            self.similarities[t], mask=self.within_map[:, :, None])
        cells[:, :, self.beyond_clip(t)] = float('nan')
        # => [L, h, w, 2], (x, y) in pixels
        return self.stride * cells.flip(-1).permute(2, 0, 1, 3).numpy()


def observe(predictor: VideoPredictor,
            video: str,
            layer: str | None = None,
            view: int = 0) -> SelfSimilarity:
    """Predict on a video, and keep what a SELFY block computes.

    Args:
        predictor (VideoPredictor): A SELFYNet.
        video (str): The video file.
        layer (str, optional): The layer that the block follows, such as
            'layer2'. By default that of the first block.
        view (int): Index of the view (clip and crop) of the test pipeline.
            Defaults to 0.

    Raises:
        ValueError: If there is no such block or view, or the video cannot be
            decoded.
    """
    model = predictor.model
    block = _find_block(model, layer)
    frames, similarities, energies = [], [], []

    def keep_added(_, inputs, output):
        added = (output - inputs[0]).norm(dim=1)
        # A position of the STSS covers 2 x 2 of the feature map.
        energies.append(F.lp_pool2d(added[:, None], 2, 2, ceil_mode=True))

    handles = [
        model.data_preprocessor.register_forward_pre_hook(
            lambda _, args: frames.extend(args[0]['inputs'])),
        block.transformation.register_forward_hook(
            lambda *args: similarities.append(args[-1])),
        block.register_forward_hook(keep_added)
    ]
    try:
        predictions = predictor(video)
    finally:
        for handle in handles:
            handle.remove()
    # [V, T, h, w, L, U, V'], [V, T, h, w], [V, T, 3, H, W]
    similarities = torch.cat(similarities).float().cpu()
    views = similarities.shape[0]
    if not 0 <= view < views:
        raise ValueError(f'view {view} of {video} does not exist: the test '
                         f'pipeline takes {views}, counted from 0.')
    energy = torch.cat(energies).float().cpu().view(similarities.shape[:4])
    # A backbone with temporal pooling has fewer frames than the clip.
    frames = torch.cat(frames).unflatten(0, (views, -1))[view]
    frames = frames[::len(frames) // similarities.shape[1]]
    return SelfSimilarity(
        frames.permute(0, 2, 3, 1).cpu().numpy(), similarities[view],
        block.transformation.offsets, energy[view], predictions)


def _find_block(model: nn.Module, layer: str | None) -> SELFYBlock:
    """The block after a layer of a recognizer, or its first one."""
    blocks = {
        name: block
        for name, block in getattr(model.backbone, 'selfy', {}).items()
        # A Recognizer3D compares tubelets, and a MOSSBlock has several STSS.
        if isinstance(model, Recognizer2D) and isinstance(block, SELFYBlock)
    }
    if not blocks:
        raise ValueError(
            f'{type(model.backbone).__name__} has no SELFY block to look '
            'into: give a config of a SELFYNet, such as '
            'configs/selfy_tsm_r50_sthv1.py. MOSSBlock and transformers '
            'cannot be shown.')
    layer = layer or next(iter(blocks))
    if layer not in blocks:
        raise ValueError(f'no SELFY block follows {layer!r}: give one of '
                         f'{", ".join(blocks)}.')
    return blocks[layer]
