"""Extraction (Sec. 3.2): each similarity map to a motion feature.

N clips of T frames, window (L, U, V), h x w positions.
"""
import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.batch_norm import uses_batch_statistics, uses_cpu_kernels
from ..ops.conv_chain import Link, conv_chain
from ..ops.soft_argmax import check_temperature, soft_argmax
from ..registry import MODELS
from .conv import ConvNormAct

# Similarity maps per chunk, with fixed statistics on a CPU: the output of one
# convolution is still in the cache when the next one reads it.
_MAPS_PER_CHUNK = 2048


def _as_matrix(conv: nn.Conv2d, weight: Tensor, shape: tuple[int, int,
                                                             int]) -> Tensor:
    """A convolution's weight, as a matrix where that is cheapest.

    On maps this small that is the convolution with one input channel and the
    one that covers a whole map.

    Args:
        conv (nn.Conv2d): The convolution.
        weight (Tensor): Its weight, [C', C, kernel, kernel].
        shape (tuple[int, int, int]): (h, w, C) of the input maps.
    """
    h, w, C = shape
    if conv.kernel_size == (h, w) and conv.padding == (0, 0):
        # [C', C, h, w] => [h * w * C, C']
        return weight.permute(2, 3, 1, 0).flatten(0, 2)
    if C > 1:
        return weight
    # The matrix is the convolution of the unit maps:
    # [h * w, 1, h, w] => [h * w, C', h', w'] => [h * w, h' * w' * C']
    units = torch.eye(h * w, dtype=weight.dtype, device=weight.device)
    units = F.conv2d(
        units.view(-1, 1, h, w), weight, None, conv.stride, conv.padding)
    return units.permute(0, 2, 3, 1).flatten(1)


class _ConvsOverWindow(nn.Module):
    """Convolutions that reduce (U, V) to one position.

    Args:
        convs (Sequence[ConvNormAct]): The first has one input channel.
    """

    def __init__(self, convs: Sequence[ConvNormAct]):
        super().__init__()
        self.convs = nn.Sequential(*convs)
        self.out_channels = convs[-1].conv.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """[N, T, h, w, L, U, V] => [N, T, h, w, L, C]"""
        # The memory order of stss: [N, T, L, h, w, U, V]
        x = x.permute(0, 1, 4, 2, 3, 5, 6)
        shape = x.shape[:5]
        # [N, T, L, h, w, U, V] => [M, U, V], M similarity maps
        x = self._extract(x.flatten(0, 4))
        # [M, C] => [N, T, L, h, w, C] => [N, T, h, w, L, C]
        x = x.view(*shape, self.out_channels)
        return x.permute(0, 1, 3, 4, 2, 5)

    def _extract(self, maps: Tensor) -> Tensor:
        """[M, U, V] => [M, C]"""
        norms = [conv.bn for conv in self.convs]
        if uses_cpu_kernels(maps, *norms):
            by_batch = [uses_batch_statistics(norm) for norm in norms]
            # [M, U, V] => [M, U * V]
            rows, links = maps.flatten(1), self._links(*maps.shape[1:])
            if all(by_batch) and all(conv.has_relu for conv in self.convs):
                return conv_chain(rows, links)
            if not any(by_batch):
                return self._convolve(rows, links)
        # [M, U, V] => [M, 1, U, V] => [M, C, 1, 1] => [M, C]
        return self.convs(maps[:, None]).flatten(1)

    def _links(self, U: int, V: int) -> list[Link]:
        """The convolutions in the format of `conv_chain`."""
        links, shape = [], (U, V, 1)
        for module in self.convs:
            conv = module.conv
            kernel, stride, padding = (conv.kernel_size, conv.stride,
                                       conv.padding)
            out_shape = (
                *((shape[i] + 2 * padding[i] - kernel[i]) // stride[i] + 1
                  for i in range(2)), conv.out_channels)
            weight = _as_matrix(conv, module.weight_and_bias()[0], shape)
            links.append(
                Link(weight, module.bn, shape, out_shape, stride, padding))
            shape = out_shape
        return links

    def _convolve(self, rows: Tensor, links: Sequence[Link]) -> Tensor:
        """With fixed statistics, [M, U * V] => [M, C]"""
        return torch.cat([
            self._convolve_chunk(chunk, links)
            for chunk in rows.split(_MAPS_PER_CHUNK)
        ])

    def _convolve_chunk(self, x: Tensor, links: Sequence[Link]) -> Tensor:
        """[M, U * V] => [M, C], channels-last in between."""
        for module, link in zip(self.convs, links, strict=True):
            _, bias = module.weight_and_bias()
            if link.weight.dim() == 2:
                # [C'] => [u' * v' * C']
                bias = bias.repeat(link.weight.shape[1] // len(bias))
                x = F.linear(x, link.weight.t(), bias)
            else:
                # [M, u * v * C] => [M, C, u, v] => [M, C', u', v']
                x = x.view(-1, *link.in_shape).permute(0, 3, 1, 2)
                x = F.conv2d(x, link.weight, bias, link.stride, link.padding)
                # [M, C', u', v'] => [M, u' * v' * C']
                x = x.permute(0, 2, 3, 1).flatten(1)
            x = module.act(x)
        return x


@MODELS.register_module()
class STSSConvExtraction(_ConvsOverWindow):
    """Each similarity map to a motion feature, by convolutions (Sec. 3.2).

    3 x 3 convolutions over (U, V), all but the first with stride 2, and a
    last one that covers the rest. For (U, V) = (9, 9) these are the official
    9 -> 9 -> 5 -> 3 -> 1; any odd window is reduced in the same way.

    Args:
        window (Sequence[int]): (L, U, V) of the similarities.
        channels (Sequence[int]): Output channels of each convolution, at
            least two. Defaults to (4, 16, 64, 64).
    """

    def __init__(self,
                 window: Sequence[int],
                 channels: Sequence[int] = (4, 16, 64, 64)):
        if len(channels) < 2:
            raise ValueError('channels of STSSConvExtraction must name at '
                             f'least two convolutions, but got {channels}.')
        _, U, V = window
        convs = [ConvNormAct(1, channels[0], 3, 1, 1)]
        for inner, outer in zip(channels[:-2], channels[1:-1], strict=False):
            convs.append(ConvNormAct(inner, outer, 3, 2, 1))
            U, V = (U + 1) // 2, (V + 1) // 2
        convs.append(ConvNormAct(channels[-2], channels[-1], (U, V)))
        super().__init__(convs)


@MODELS.register_module()
class STSSMLPExtraction(_ConvsOverWindow):
    """Each similarity map to a motion feature, by an MLP (Sec. 3.2).

    The first layer reads the U * V similarities of a map at once: a
    convolution that covers the window. A batch norm and an activation follow
    each layer, as in :class:`STSSConvExtraction`.

    Args:
        window (Sequence[int]): (L, U, V) of the similarities.
        channels (Sequence[int]): Output channels of each layer.
            Defaults to (64, 64, 64, 64).
        act (str): Activation of each layer, 'ReLU' or 'GELU'.
            Defaults to 'ReLU'.
    """

    def __init__(self,
                 window: Sequence[int],
                 channels: Sequence[int] = (64, 64, 64, 64),
                 act: str = 'ReLU'):
        if len(channels) < 1:
            raise ValueError('channels of STSSMLPExtraction must name at '
                             f'least one layer, but got {channels}.')
        first = ConvNormAct(1, channels[0], tuple(window[1:]), act=act)
        super().__init__([
            first, *(ConvNormAct(inner, outer, 1, act=act)
                     for inner, outer in itertools.pairwise(channels))
        ])


@MODELS.register_module()
class STSSSoftArgmaxExtraction(nn.Module):
    """Each similarity map to the position of its peak (:func:`soft_argmax`).

    The explicit displacement of Sec. 3.2, with the value of the peak as a
    confidence (as in MotionSqueeze): three channels, vertical and horizontal
    displacement in cells and the confidence. It has no parameters: the first
    layer of the integration projects the three channels.

    Args:
        window (Sequence[int]): (L, U, V) of the similarities; any.
        temperature (float): The lower, the closer to the argmax.
            Defaults to 0.01.
    """

    out_channels = 3

    def __init__(self, window: Sequence[int], temperature: float = 0.01):
        super().__init__()
        self.temperature = check_temperature(temperature)

    def forward(self, x: Tensor) -> Tensor:
        """[N, T, h, w, L, U, V] => [N, T, h, w, L, 3]"""
        displacement, confidence = soft_argmax(x, self.temperature)
        return torch.cat([displacement, confidence[..., None]], -1)
