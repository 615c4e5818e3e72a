"""Extraction (Sec. 3.2): each similarity map to a motion feature.

N counts clips, T frames, (L, U, V) the window, h x w the positions.
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.batch_norm import in_one_piece, uses_batch_statistics
from ..ops.conv_chain import Link, conv_chain
from ..registry import MODELS
from .conv import ConvNormReLU

# On a CPU, evaluation extracts so many similarity maps at a time: what one
# convolution leaves then still lies in the cache when the next one reads it.
_MAPS_PER_CHUNK = 2048


def _product(rows: Tensor, matrix: Tensor, conv: ConvNormReLU) -> Tensor:
    """A convolution by its matrix: [M, K] => [M, positions * C]"""
    _, bias = conv.weight_and_bias()
    if bias is None:
        return rows @ matrix
    # [C] => [positions * C]
    bias = bias.repeat(matrix.shape[1] // len(bias))
    return torch.addmm(bias, rows, matrix)


@MODELS.register_module()
class STSSConvExtraction(nn.Module):
    """Each similarity map to a motion feature, by convolutions (Sec. 3.2).

    3 x 3 convolutions over (U, V), of which all but the first have stride 2,
    and a last one that covers what they leave. At (U, V) = (9, 9) these are
    the official 9 -> 9 -> 5 -> 3 -> 1; any odd window is reduced likewise.

    Args:
        window (Sequence[int]): (L, U, V) of the similarities.
        channels (Sequence[int]): Output channels of each convolution, two
            of them at least. Defaults to (4, 16, 64, 64).
    """

    def __init__(self,
                 window: Sequence[int],
                 channels: Sequence[int] = (4, 16, 64, 64)):
        super().__init__()
        if len(channels) < 2:
            raise ValueError('channels of STSSConvExtraction must name two '
                             f'convolutions at least, but got {channels}.')
        _, U, V = window
        convs = [ConvNormReLU(1, channels[0], 3, 1, 1)]
        for inner, outer in zip(channels[:-2], channels[1:-1], strict=False):
            convs.append(ConvNormReLU(inner, outer, 3, 2, 1))
            U, V = (U + 1) // 2, (V + 1) // 2
        convs.append(ConvNormReLU(channels[-2], channels[-1], (U, V)))
        self.convs = nn.Sequential(*convs)
        self.out_channels = channels[-1]

    def forward(self, x: Tensor) -> Tensor:
        """[N, T, h, w, L, U, V] => [N, T, h, w, L, C]"""
        # The memory order of stss: [N, T, L, h, w, U, V]
        x = x.permute(0, 1, 4, 2, 3, 5, 6)
        shape = x.shape[:5]
        # [N, T, L, h, w, U, V] => [M, U, V], M similarity maps
        maps = x.flatten(0, 4)
        if all(
                isinstance(conv.bn, nn.BatchNorm2d)
                and uses_batch_statistics(conv.bn) for conv in self.convs):
            x = conv_chain(maps.flatten(1), self._links(*maps.shape[1:]))
        elif torch.is_grad_enabled() or in_one_piece(maps):
            x = self._extract(maps)
        else:
            chunks = maps.split(_MAPS_PER_CHUNK)
            x = torch.cat([self._extract(chunk) for chunk in chunks])
        # [M, C] => [N, T, L, h, w, C] => [N, T, h, w, L, C]
        x = x.view(*shape, self.out_channels)
        return x.permute(0, 1, 3, 4, 2, 5)

    def _links(self, U: int, V: int) -> list[Link]:
        """The convolutions as `conv_chain` takes them."""
        links, shape = [], (U, V, 1)
        for conv, weight in zip(self.convs, self._weights(U, V), strict=True):
            kernel, stride, padding = (conv.conv.kernel_size,
                                       conv.conv.stride, conv.conv.padding)
            out_shape = (*((shape[i] + 2 * padding[i] - kernel[i]) //
                           stride[i] + 1 for i in range(2)),
                         conv.conv.out_channels)
            links.append(
                Link(weight, conv.bn, shape, out_shape, stride, padding))
            shape = out_shape
        return links

    def _weights(self, U: int, V: int) -> list[Tensor]:
        """Weights, those of the first and the last convolution as matrices.

        On maps this small these two are cheapest as matrix products.
        """
        first, *middle, last = (
            conv.weight_and_bias()[0] for conv in self.convs)
        # The matrix is what the convolution makes of the unit maps:
        # [U * V, 1, U, V] => [U * V, C, U, V] => [U * V, U * V * C]
        units = torch.eye(U * V, dtype=first.dtype, device=first.device)
        first = F.conv2d(units.view(-1, 1, U, V), first, padding=1)
        first = first.permute(0, 2, 3, 1).flatten(1)
        # [C', C, u, v] => [u * v * C, C']
        last = last.permute(2, 3, 1, 0).flatten(0, 2)
        return [first, *middle, last]

    def _extract(self, maps: Tensor) -> Tensor:
        """[M, U, V] => [M, C], channels last in between."""
        M, U, V = maps.shape
        first, *middle, last = self.convs
        first_matrix, *_, last_matrix = self._weights(U, V)
        # [M, U * V] => [M, U * V * C] => [M, C, U, V]
        x = _product(maps.flatten(1), first_matrix, first)
        x = first.finish(x.view(M, U, V, -1).permute(0, 3, 1, 2))
        for conv in middle:
            x = conv(x)
        # [M, C, u, v] => [M, u * v * C] => [M, C']
        x = _product(x.permute(0, 2, 3, 1).flatten(1), last_matrix, last)
        return last.finish(x[:, :, None, None]).flatten(1)
