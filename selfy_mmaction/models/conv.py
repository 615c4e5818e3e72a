"""Convolution, norm and activation: the layers of the block."""
from collections import OrderedDict
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.batch_norm import (
    affine,
    batch_norm_relu,
    uses_batch_statistics,
    uses_cpu_kernels,
)

_ACTIVATIONS = dict(ReLU=partial(nn.ReLU, inplace=True), GELU=nn.GELU)


class ConvNormAct(nn.Sequential):
    """Conv2d without bias, batch norm and an activation.

    On a CPU, a norm with fixed statistics is folded into the convolution's
    weight and bias.

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

    @property
    def has_relu(self) -> bool:
        """Whether the activation is a ReLU."""
        return isinstance(self.act, nn.ReLU)

    def weight_and_bias(self) -> tuple[Tensor, Tensor | None]:
        """The convolution's, with a norm of fixed statistics folded in."""
        if isinstance(self.bn, nn.Identity):  # after fuse_conv_bn
            return self.conv.weight, self.conv.bias
        if uses_batch_statistics(self.bn):
            return self.conv.weight, None
        scale, shift = affine(self.bn, self.bn.running_mean,
                              self.bn.running_var)
        return self.conv.weight * scale[:, None, None, None], shift

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] => [B, C', h', w']"""
        by_batch = uses_batch_statistics(self.bn)
        # The CPU kernels fuse the norm only with a ReLU.
        if not uses_cpu_kernels(x, self.bn) or by_batch and not self.has_relu:
            return super().forward(x)
        weight, bias = self.weight_and_bias()
        x = F.conv2d(x, weight, bias, self.conv.stride, self.conv.padding)
        return batch_norm_relu(x, self.bn) if by_batch else self.act(x)
