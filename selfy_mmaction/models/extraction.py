"""Extraction (Sec. 3.2): each similarity map to a motion feature.

N clips of T frames, window (L, U, V), h x w positions.
"""
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..ops.soft_argmax import check_temperature, soft_argmax
from ..registry import MODELS
from .selfy_block import ConvNormAct


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
        # [N, T, L, h, w, U, V] => [M, 1, U, V], M similarity maps; channels
        # first, since on channels-last maps PyTorch's batch norm loses two
        # digits on a CPU.
        x = self.convs(x.flatten(0, 4)[:, None])
        # [M, C, 1, 1] => [N, T, L, h, w, C] => [N, T, h, w, L, C]
        x = x.view(*shape, self.out_channels)
        return x.permute(0, 1, 3, 4, 2, 5)


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
