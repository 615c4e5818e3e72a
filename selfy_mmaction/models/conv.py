"""What the convolutions of the block are made of."""
from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.batch_norm import affine, batch_norm_relu, uses_batch_statistics


class ConvNormReLU(nn.Sequential):
    """Conv2d without bias, batch norm and ReLU.

    Where the norm has fixed statistics it is part of the convolution's
    weight and bias.
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
        """Weight and bias of the convolution that stands before `finish`."""
        if isinstance(self.bn, nn.Identity):  # after fuse_conv_bn
            return self.conv.weight, self.conv.bias
        if uses_batch_statistics(self.bn):
            return self.conv.weight, None
        scale, shift = affine(self.bn, self.bn.running_mean,
                               self.bn.running_var)
        return self.conv.weight * scale[:, None, None, None], shift

    def finish(self, x: Tensor) -> Tensor:
        """Norm, unless it is in the weights, and ReLU."""
        bn = self.bn
        if isinstance(bn, nn.Identity) or not uses_batch_statistics(bn):
            return self.act(x)
        if not isinstance(bn, nn.BatchNorm2d):
            return self.act(bn(x))  # statistics of all processes
        return batch_norm_relu(x, bn)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] => [B, C', h', w']"""
        weight, bias = self.weight_and_bias()
        return self.finish(
            F.conv2d(x, weight, bias, self.conv.stride, self.conv.padding))
