"""Higher-order self-similarity (MOSS, arXiv 2604.20760).

An encoder computes the STSS of a feature map and maps it to a feature map of
motion. The next encoder, applied to that map, gives the second order, the
change of motion, and so on.

N clips of T frames (num_segments), window (L, U, V), H x W positions of the
feature map, which the encoders keep.
"""
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.stss import (
    SIMILARITIES,
    TEMPORAL_PADDINGS,
    check_choice,
    check_window,
    stss,
)
from ..registry import MODELS
from .selfy_block import ResidualBlock, init_convs


class _LayerNorm(nn.GroupNorm):
    """Layer norm over the last dimension.

    Derived from GroupNorm, to which it is equal at a single position, since
    MMAction2's TSMOptimWrapperConstructor refuses layer norms.
    """

    def __init__(self, channels: int):
        super().__init__(1, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] => [..., C]"""
        return F.layer_norm(x, (self.num_channels, ), self.weight, self.bias,
                            self.eps)


class STSSEncoder(nn.Module):
    """A feature map to its STSS, and the STSS to a feature map: one order.

    Args:
        channels (int): Channels of the feature map, C.
        num_segments (int): Frames per clip, T.
        mid_channels (int): Channels that are compared.
        window (Sequence[int]): (L, U, V), see :func:`stss`.
        offsets (Sequence[int], optional): See :func:`stss`.
        similarity (str): See :func:`stss`; 'dot' is scaled by the number of
            channels, as in 'softmax'.
        temporal_padding (str): See :func:`stss`.
        extraction (dict): See :class:`SELFYBlock`.
        integration (dict): See :class:`SELFYBlock`.
    """

    def __init__(self, channels: int, num_segments: int, mid_channels: int,
                 window: Sequence[int], offsets: Sequence[int] | None,
                 similarity: str, temporal_padding: str, extraction: dict,
                 integration: dict):
        super().__init__()
        self.num_segments = num_segments
        self.window, self.offsets = check_window(window, offsets)
        check_choice('similarity', similarity, SIMILARITIES)
        check_choice('temporal_padding', temporal_padding, TEMPORAL_PADDINGS)
        self.similarity = similarity
        self.temporal_padding = temporal_padding
        self.scale = mid_channels**-0.5 if similarity == 'dot' else None
        self.norm = _LayerNorm(channels)
        self.in_proj = nn.Linear(channels, mid_channels)
        self.extraction = MODELS.build(dict(extraction, window=self.window))
        self.integration = MODELS.build(
            dict(
                integration,
                in_channels=self.extraction.out_channels,
                window=self.window))
        self.out_proj = nn.Linear(self.integration.out_channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N * T, C, H, W] => [N * T, C, H, W]"""
        # [N * T, C, H, W] => [N * T, H, W, C']
        x = self.in_proj(self.norm(x.permute(0, 2, 3, 1)))
        # => [N, T, H, W, L, U, V]
        x = stss(
            x.unflatten(0, (-1, self.num_segments)),
            self.window,
            self.similarity,
            self.temporal_padding,
            # as in F.normalize, whose eps applies to the norm: 1e-12
            eps=1e-24,
            offsets=self.offsets,
            scale=self.scale,
            layout='NTHWC')
        # => [N, T, H, W, L, C''] => [N * T, C''', H, W]
        x = self.integration(self.extraction(x))
        # => [N * T, H, W, C] => [N * T, C, H, W]
        return self.out_proj(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@MODELS.register_module()
class MOSSBlock(ResidualBlock):
    """Adds motion of several orders to a feature map.

    Order n is the :class:`STSSEncoder` applied to the output of order n - 1;
    the sum of all orders is added. At initialisation the block is the
    identity, since the scale of the sum is zero.

    Args:
        in_channels (int): Channels of the feature map, C.
        num_segments (int): Frames per clip, T.
        orders (int): Number of encoders. Defaults to 2.
        mid_channels (int): Channels that are compared. Defaults to 128.
        window (Sequence[int]): (L, U, V), odd, see :func:`stss`. L = 1
            compares each frame with the previous one, unless offsets are
            given. Defaults to (5, 9, 9).
        offsets (Sequence[int], optional): See :func:`stss`.
        similarity (str): See :func:`stss`; 'dot' is scaled by C' ** -0.5.
            Defaults to 'cosine'.
        temporal_padding (str, optional): See :func:`stss`. By default
            'replicate' for the previous frame (L = 1), otherwise 'zeros'.
        extraction (dict): See :class:`SELFYBlock`. Defaults to one linear map
            of the U * V similarities, batch norm and GELU.
        integration (dict): See :class:`SELFYBlock`. Defaults to three
            convolutions, each with batch norm and GELU.
        relu (bool): See :class:`SELFYBlock`. Defaults to True.
        with_cp (bool): See :class:`SELFYBlock`. Defaults to False.

    Raises:
        ValueError: If orders is not positive, the window is not three odd
            positive integers, the offsets are not L different ones, or a
            choice is unknown.
    """

    def __init__(self,
                 in_channels: int,
                 num_segments: int,
                 orders: int = 2,
                 mid_channels: int = 128,
                 window: Sequence[int] = (5, 9, 9),
                 offsets: Sequence[int] | None = None,
                 similarity: str = 'cosine',
                 temporal_padding: str | None = None,
                 extraction: dict = dict(
                     type='STSSMLPExtraction', channels=(64, ), act='GELU'),
                 integration: dict = dict(
                     type='STSSConvIntegration',
                     channels=(64, 64, 128),
                     act='GELU'),
                 relu: bool = True,
                 with_cp: bool = False):
        super().__init__(num_segments, with_cp)
        if not isinstance(orders, int) or orders < 1:
            raise ValueError('orders of MOSSBlock must be a positive integer, '
                             f'but got {orders!r}.')
        window, _ = check_window(window, offsets)
        previous = window[0] == 1 and offsets is None
        if previous:
            offsets = (-1, )
        if temporal_padding is None:
            temporal_padding = 'replicate' if previous else 'zeros'
        self.encoders = nn.ModuleList([
            STSSEncoder(in_channels, num_segments, mid_channels, window,
                        offsets, similarity, temporal_padding, extraction,
                        integration) for _ in range(orders)
        ])
        # A scale per channel, as a layer: the same constructor skips
        # parameters that belong to no layer.
        self.scale = nn.Conv2d(
            in_channels, in_channels, 1, groups=in_channels, bias=False)
        self.relu = relu
        self.init_weights()

    def init_weights(self) -> None:
        """Initialise as :class:`SELFYBlock` does, with a scale of zero."""
        init_convs(self)
        for module in self.modules():
            if isinstance(module, (nn.Linear, _LayerNorm)):
                module.reset_parameters()
        nn.init.zeros_(self.scale.weight)

    def add_motion(self, x: Tensor) -> Tensor:
        """[N * T, C, H, W] => [N * T, C, H, W]"""
        motion, total = x, 0
        for encoder in self.encoders:
            motion = encoder(motion)
            total = total + motion
        out = x + self.scale(total)
        return F.relu(out) if self.relu else out
