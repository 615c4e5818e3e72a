"""Integration (Sec. 3.3): the motion features of L offsets to one map.

N clips of T frames, window (L, U, V), h x w positions.
"""
from collections.abc import Sequence

from torch import Tensor, nn

from ..registry import MODELS
from .selfy_block import ConvNormAct


@MODELS.register_module()
class STSSConvIntegration(nn.Module):
    """Motion features to a motion map, by convolutions (Sec. 3.3).

    Convolutions over (H, W), applied to each of the L offsets separately, and
    a last one that fuses the L offsets.

    Args:
        in_channels (int): Channels of the extracted features.
        window (Sequence[int]): (L, U, V) of the similarities.
        channels (Sequence[int]): Output channels of each convolution, the
            last being the fusion. Defaults to (64, 64, 64, 64).
        kernel_size (int): Kernel size of each convolution, odd; with 1 there
            is no spatial context. Defaults to 3.
        act (str): Activation after each convolution, 'ReLU' or 'GELU'.
            Defaults to 'ReLU'.
    """

    def __init__(self,
                 in_channels: int,
                 window: Sequence[int],
                 channels: Sequence[int] = (64, 64, 64, 64),
                 kernel_size: int = 3,
                 act: str = 'ReLU'):
        super().__init__()
        if len(channels) < 1:
            raise ValueError('channels of STSSConvIntegration must name at '
                             f'least one convolution, but got {channels}.')
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError('kernel_size of STSSConvIntegration must be odd '
                             f'and positive, but got {kernel_size}.')
        same = dict(kernel_size=kernel_size, padding=kernel_size // 2, act=act)
        widths = (in_channels, *channels)
        self.convs = nn.Sequential(*[
            ConvNormAct(inner, outer, **same)
            for inner, outer in zip(widths[:-2], widths[1:-1], strict=False)
        ])
        self.fuse = ConvNormAct(window[0] * widths[-2], widths[-1], **same)
        self.out_channels = channels[-1]

    def forward(self, x: Tensor) -> Tensor:
        """[N, T, h, w, L, C] => [N * T, C', h, w]"""
        N, T, h, w, L, C = x.shape
        # [N, T, h, w, L, C] => [N * T * L, C, h, w], channels-last in memory
        x = x.permute(0, 1, 4, 5, 2, 3).flatten(0, 2)
        x = self.convs(x)
        # [N * T * L, C, h, w] => [N * T, L * C, h, w]
        x = x.unflatten(0, (N * T, L)).flatten(1, 2)
        return self.fuse(x)
