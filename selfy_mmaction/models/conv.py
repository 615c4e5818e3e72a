"""What the convolutions of the block are made of."""
from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.batch_norm import (
    affine,
    batch_norm_relu,
    uses_batch_statistics,
    uses_cpu_kernels,
)


class ConvNormReLU(nn.Sequential):
    """Conv2d without bias, batch norm and ReLU.

    By the kernels of a CPU, a norm with fixed statistics is part of the
    convolution's weight and bias.
    """

    def __init__(self,
                 in_channels: int,
                 out_channels: int,
                 kernel_size: int | tuple[int, int],
                 stride: int = 1,
                 padding: int = 0):
        if not isinstance(out_channels, int) or out_channels < 1:
            raise ValueError(
                'mid_channels of SELFYBlock and the channels of extraction '
                'and integration must be positive integers, but got '
                f'{out_channels!r}.')
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
                act=nn.ReLU(inplace=True)))

    def weight_and_bias(self) -> tuple[Tensor, Tensor | None]:
        """Those of the convolution, with a norm of fixed statistics in it."""
        if isinstance(self.bn, nn.Identity):  # after fuse_conv_bn
            return self.conv.weight, self.conv.bias
        if uses_batch_statistics(self.bn):
            return self.conv.weight, None
        scale, shift = affine(self.bn, self.bn.running_mean,
                              self.bn.running_var)
        return self.conv.weight * scale[:, None, None, None], shift

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] => [B, C', h', w']"""
        if not uses_cpu_kernels(x, self.bn):
            return super().forward(x)
        weight, bias = self.weight_and_bias()
        x = F.conv2d(x, weight, bias, self.conv.stride, self.conv.padding)
        if uses_batch_statistics(self.bn):
            return batch_norm_relu(x, self.bn)
        return self.act(x)
