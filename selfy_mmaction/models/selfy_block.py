"""The SELFY block: its layers, transformation and residual sum (Sec. 3).

Everything here needs only torch. N clips of T frames (num_segments), window
(L, U, V); a feature map has H x W positions, h x w after the stride of the
transformation.
"""
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from ..ops.stss import (
    SIMILARITIES,
    TEMPORAL_PADDINGS,
    check_choice,
    check_window,
    stss,
)
from ..registry import MODELS

_ACTIVATIONS = dict(ReLU=partial(nn.ReLU, inplace=True), GELU=nn.GELU)


class ConvNormAct(nn.Sequential):
    """Conv2d without bias, batch norm and an activation.

    Args:
        in_channels (int): Input channels.
        out_channels (int): Output channels.
        kernel_size (int | tuple[int, int]): Of the convolution.
        stride (int): Of the convolution. Defaults to 1.
        padding (int): Of the convolution. Defaults to 0.
        act (str): The activation, 'ReLU' or 'GELU'. Defaults to 'ReLU'.
    """

    def __init__(self,
                 in_channels: int,
                 out_channels: int,
                 kernel_size: int | tuple[int, int],
                 stride: int = 1,
                 padding: int = 0,
                 act: str = 'ReLU'):
        if not isinstance(out_channels, int) or out_channels < 1:
            raise ValueError(
                'mid_channels of SELFYBlock and the channels of extraction '
                'and integration must be positive integers, but got '
                f'{out_channels!r}.')
        if act not in _ACTIVATIONS:
            raise ValueError(f'act must be one of {[*_ACTIVATIONS]}, but got '
                             f'{act!r}.')
        super().__init__(
            OrderedDict(
                conv=nn.Conv2d(
                    in_channels,
                    out_channels,
                    kernel_size,
                    stride,
                    padding,
                    bias=False),
                bn=nn.BatchNorm2d(out_channels),
                act=_ACTIVATIONS[act]()))


class STSSTransformation(nn.Module):
    """Features to their self-similarities (Sec. 3.1).

    A 3 x 3 convolution of stride 2 reduces the feature map first.

    Args:
        in_channels (int): Channels of the feature map.
        num_segments (int): Frames per clip, T.
        mid_channels (int): Channels that are compared. Defaults to 128.
        window (Sequence[int]): (L, U, V), see :func:`stss`.
            Defaults to (5, 9, 9).
        similarity (str): See :func:`stss`. Defaults to 'cosine'.
        temporal_padding (str): See :func:`stss`. Defaults to 'zeros'.
        offsets (Sequence[int], optional): See :func:`stss`.
    """

    def __init__(self,
                 in_channels: int,
                 num_segments: int,
                 mid_channels: int = 128,
                 window: Sequence[int] = (5, 9, 9),
                 similarity: str = 'cosine',
                 temporal_padding: str = 'zeros',
                 offsets: Sequence[int] | None = None):
        super().__init__()
        self.num_segments = num_segments
        self.window, self.offsets = check_window(window, offsets)
        check_choice('similarity', similarity, SIMILARITIES)
        check_choice('temporal_padding', temporal_padding, TEMPORAL_PADDINGS)
        self.similarity = similarity
        self.temporal_padding = temporal_padding
        self.downsample = ConvNormAct(in_channels, mid_channels, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N * T, C, H, W] => [N, T, h, w, L, U, V]"""
        x = self.downsample(x)
        # [N * T, C', h, w] => [N, T, C', h, w]
        x = x.unflatten(0, (-1, self.num_segments))
        return stss(
            x,
            self.window,
            self.similarity,
            self.temporal_padding,
            offsets=self.offsets)


class _ResidualAdd(nn.Module):
    """Adds the motion map to the feature map that it was computed from.

    A 1 x 1 transposed convolution of stride 2 and a batch norm: of the four
    positions that a motion vector covers, it is written to one; the others
    are zero before the norm.
    """

    def __init__(self, in_channels: int, out_channels: int, relu: bool):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        self.relu = relu

    def forward(self, x: Tensor, motion: Tensor) -> Tensor:
        """[N * T, C, H, W], [N * T, C', h, w] => [N * T, C, H, W]"""
        # Stored as a convolution, so that fuse_conv_bn finds the pair.
        motion = F.conv_transpose2d(
            motion,
            self.conv.weight.transpose(0, 1),
            self.conv.bias,
            stride=2,
            output_padding=[(size + 1) % 2 for size in x.shape[2:]])
        out = x + self.bn(motion)
        return F.relu(out, inplace=True) if self.relu else out


@contextmanager
def _keep_statistics(module: nn.Module):
    """Compute as in training without counting the batch a second time."""
    norms = [
        m for m in module.modules()
        if isinstance(m, _BatchNorm) and m.training and m.track_running_stats
    ]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked -= 1


class ResidualBlock(nn.Module):
    """Adds motion to the feature map of each frame of a clip.

    Args:
        num_segments (int): Frames per clip, T.
        with_cp (bool): Whether to recompute the block in backward instead
            of keeping its activations.
    """

    def __init__(self, num_segments: int, with_cp: bool):
        super().__init__()
        self.num_segments = num_segments
        self.with_cp = with_cp

    def forward(self, x: Tensor) -> Tensor:
        """[N * T, C, H, W] => [N * T, C, H, W]

        Raises:
            ValueError: If the batch is not a multiple of num_segments.
        """
        if x.shape[0] % self.num_segments:
            raise ValueError(
                f'The batch of {type(self).__name__} should be a multiple of '
                f'num_segments, but got a batch of {x.shape[0]} frames and '
                f'num_segments={self.num_segments}.')
        if self.with_cp and torch.is_grad_enabled():
            return checkpoint(
                self.add_motion,
                x,
                use_reentrant=False,
                context_fn=lambda: (nullcontext(), _keep_statistics(self)))
        return self.add_motion(x)

    def add_motion(self, x: Tensor) -> Tensor:
        """[N * T, C, H, W] => [N * T, C, H, W]"""
        raise NotImplementedError


def init_convs(module: nn.Module) -> None:
    """The official initialisation of convolutions and their norms."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(
                layer.weight, mode='fan_out', nonlinearity='relu')
        elif isinstance(layer, _BatchNorm):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)


@MODELS.register_module()
class SELFYBlock(ResidualBlock):
    """Adds motion, learned from self-similarity, to a feature map.

    At initialisation it is the identity, since the scale of its last norm is
    zero: a network starts as it was without the block.

    Args:
        in_channels (int): Channels of the feature map, C.
        num_segments (int): Frames per clip, T.
        mid_channels (int): Channels that are compared. Defaults to 128.
        window (Sequence[int]): (L, U, V), odd, see :func:`stss`.
            Defaults to (5, 9, 9).
        offsets (Sequence[int], optional): The L frames that each frame is
            compared with, see :func:`stss`. Centred by default.
        similarity (str): See :func:`stss`. Defaults to 'cosine'.
        temporal_padding (str): See :func:`stss`. Defaults to 'zeros'.
        extraction (dict): Its type and arguments (Sec. 3.2): a module
            ``[N, T, h, w, L, U, V] => [N, T, h, w, L, out_channels]``.
        integration (dict): Its type and arguments (Sec. 3.3): a module
            ``[N, T, h, w, L, C] => [N * T, out_channels, h, w]``.
        relu (bool): Whether the sum passes a ReLU, as the feature map of a
            ResNet has. Defaults to True.
        with_cp (bool): Whether to recompute the block in backward instead
            of keeping its activations. Defaults to False.

    Raises:
        ValueError: If the window is not three odd positive integers, the
            offsets are not L different ones, or a choice is unknown.
    """

    def __init__(self,
                 in_channels: int,
                 num_segments: int,
                 mid_channels: int = 128,
                 window: Sequence[int] = (5, 9, 9),
                 offsets: Sequence[int] | None = None,
                 similarity: str = 'cosine',
                 temporal_padding: str = 'zeros',
                 extraction: dict = dict(
                     type='STSSConvExtraction', channels=(4, 16, 64, 64)),
                 integration: dict = dict(
                     type='STSSConvIntegration', channels=(64, 64, 64, 64)),
                 relu: bool = True,
                 with_cp: bool = False):
        super().__init__(num_segments, with_cp)
        self.transformation = STSSTransformation(in_channels, num_segments,
                                                 mid_channels, window,
                                                 similarity, temporal_padding,
                                                 offsets)
        window = self.transformation.window
        self.extraction = MODELS.build(dict(extraction, window=window))
        self.integration = MODELS.build(
            dict(
                integration,
                in_channels=self.extraction.out_channels,
                window=window))
        self.residual_add = _ResidualAdd(self.integration.out_channels,
                                         in_channels, relu)
        self.init_weights()

    def init_weights(self) -> None:
        """The official initialisation; the last scale is zero."""
        init_convs(self)
        # The official layer is transposed: its outputs are inputs of ours.
        nn.init.kaiming_normal_(
            self.residual_add.conv.weight, mode='fan_in', nonlinearity='relu')
        nn.init.zeros_(self.residual_add.bn.weight)

    def add_motion(self, x: Tensor) -> Tensor:
        """[N * T, C, H, W] => [N * T, C, H, W]"""
        # [N * T, C, H, W] => [N, T, h, w, L, U, V]
        motion = self.transformation(x)
        # => [N, T, h, w, L, C']
        motion = self.extraction(motion)
        # => [N * T, C'', h, w]
        motion = self.integration(motion)
        # => [N * T, C, H, W]
        return self.residual_add(x, motion)
