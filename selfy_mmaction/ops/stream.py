"""STSS of a video that arrives frame by frame."""
from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from .stss import check_window, stss


class STSSStream:
    """The output of :func:`stss` for the frames of a clip, as they arrive.

    It keeps the features of as many frames as the offsets reach back, so that
    a network computes the features of each frame once, if they do not depend
    on later frames, as they do after a TSM's shift. They carry no gradient.

    .. code-block:: python

        stream = STSSStream((3, 9, 9), offsets=(-2, -1, 0))
        for x in frames:  # [N, C, H, W]
            similarities = stream(x)  # [N, H, W, L, U, V]

    Args:
        window (Sequence[int]): (L, U, V), see :func:`stss`.
        offsets (Sequence[int]): The L frames to compare with, see
            :func:`stss`; none of them positive.
        temporal_padding (str): The padding before the first frame, see
            :func:`stss`. Defaults to 'zeros'.
        **kwargs: Other arguments of :func:`stss`: similarity, eps, scale
            and layout.

    Raises:
        ValueError: If an offset is positive, since later frames have not
            arrived, or :func:`stss` refuses an argument.
    """

    def __init__(self,
                 window: Sequence[int],
                 offsets: Sequence[int],
                 temporal_padding: str = 'zeros',
                 **kwargs):
        self.window, self.offsets = check_window(window, offsets)
        if max(self.offsets) > 0:
            raise ValueError(
                'offsets of a stream must not be positive, since later frames '
                f'are not there yet, but got {self.offsets}.')
        self.kwargs = dict(kwargs, temporal_padding=temporal_padding)
        # Now, rather than at the first frame, which may arrive much later.
        stss(
            torch.empty(0, 1, 1, 1, 1), (1, *self.window[1:]),
            offsets=(0, ),
            **self.kwargs)
        self._frames = deque(maxlen=1 - min(self.offsets))

    def reset(self) -> None:
        """Forget the frames: the next one is the first of a clip."""
        self._frames.clear()

    def __call__(self, x: Tensor) -> Tensor:
        """The similarities of a new frame.

        Args:
            x (Tensor): Features of the frame, [N, C, H, W], or [N, H, W, C]
                if the layout is 'NTHWC'.

        Returns:
            Tensor: [N, H, W, L, U, V].

        Raises:
            ValueError: If its shape is not that of the frames before.
        """
        if self._frames and x.shape != self._frames[-1].shape:
            raise ValueError(
                f'a stream of frames {tuple(self._frames[-1].shape)} got one '
                f'of {tuple(x.shape)}; reset() begins another.')
        # A copy: the caller may write the next frame to the same memory.
        self._frames.append(x.detach().clone())
        others = torch.cat([self._frame(offset) for offset in self.offsets])
        own = x.repeat(len(self.offsets), *[1] * (x.dim() - 1))
        # One clip of all other frames, then all repetitions of x, so that a
        # single offset forms exactly the L * N pairs:
        # [2 * L * N, ...] => [1, 2 * L * N, H, W, 1, U, V]
        out = stss(
            torch.cat([others, own])[None], (1, *self.window[1:]),
            offsets=(-len(own), ),
            **self.kwargs)
        # [L * N, H, W, U, V] => [N, H, W, L, U, V]
        out = out[0, len(own):, :, :, 0].unflatten(0, (-1, len(x)))
        return out.permute(1, 2, 3, 0, 4, 5)

    def _frame(self, offset: int) -> Tensor:
        """The frame at an offset, or the padding before the first."""
        if len(self._frames) >= 1 - offset:
            return self._frames[offset - 1]
        first = self._frames[0]
        replicate = self.kwargs['temporal_padding'] == 'replicate'
        return first if replicate else torch.zeros_like(first)
