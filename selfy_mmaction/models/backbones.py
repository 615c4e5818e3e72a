"""SELFYNet: backbones of MMAction2 with SELFY blocks after chosen stages."""
import contextlib
import io
import logging
from collections.abc import Iterable, Sequence

from mmaction.models.backbones.mobilenet_v2_tsm import MobileNetV2TSM
from mmaction.models.backbones.resnet_tsm import ResNetTSM
from mmengine.logging import MMLogger
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..registry import MODELS


def find_shift_fault(expected: Iterable[str],
                     given: Iterable[str]) -> str | None:
    """Find out whether weights are of a network with another temporal shift.

    MMAction2 wraps a shifted layer and keeps it as ``net``. Loading by name
    would skip such layers if only one of the two networks has the shift.

    Args:
        expected (Iterable[str]): The keys of a network's weights.
        given (Iterable[str]): The keys of the weights to load.

    Returns:
        str | None: The difference and the remedy, if there is a difference.
    """
    names = {key.replace('.net.', '.'): key for key in expected}
    pairs = [(names[name], key)
             for name, key in ((key.replace('.net.', '.'), key)
                               for key in given)
             if name in names and names[name] != key]
    if not pairs:
        return None
    shifts = ['.net.' in key for key in pairs[0]]
    if all(shifts):
        return ('it shifts other layers: set depth, shift_place and '
                'temporal_pool of model.backbone as they were.')
    kind, value = ('without', False) if shifts[0] else ('with', True)
    return (f'it is of a network {kind} temporal shift: set '
            f'model.backbone.is_shift={value}.')


def _fits(weight: Tensor, given: object) -> bool:
    # PyTorch would take the real part of complex values.
    return (isinstance(given, Tensor) and given.shape == weight.shape
            and not given.is_complex())


class _Blocks(nn.ModuleDict):
    """The blocks of a backbone, by the stages that they follow.

    MMEngine initialises a child after its parent, and logs what it changed.
    """

    is_init = False

    def init_weights(self) -> None:
        for block in self.values():
            block.init_weights()
        self.is_init = True


class _SELFYBackbone:
    """Mixin that adds SELFY blocks to a TSM backbone of MMAction2.

    The blocks are in ``self.selfy``, beside the stages, so that all other
    parameters keep the names of the TSM backbone. Weights of a network with
    another temporal shift are refused.
    """

    _loads_pretrained = False

    def _add_selfy(self, selfy: dict, indices: Sequence[int],
                   channels: Sequence[int], num_segments: Sequence[int],
                   **kwargs) -> None:
        """Build one block per index.

        Args:
            selfy (dict): Type and arguments of the blocks.
            indices (Sequence[int]): The stages that a block follows.
            channels (Sequence[int]): Output channels of each stage.
            num_segments (Sequence[int]): Frames per clip after each stage.
            **kwargs: Arguments of the blocks that follow from the backbone.
        """
        if not isinstance(indices, Sequence):
            raise ValueError('selfy_indices must be a list of stages, such '
                             f'as ({indices}, ), but got {indices}.')
        self.selfy_indices = tuple(indices)
        if (len(set(self.selfy_indices)) != len(self.selfy_indices) or
                not all(i in range(len(channels))
                        for i in self.selfy_indices)):
            raise ValueError(
                'selfy_indices must be different stages from 0 to '
                f'{len(channels) - 1}, but got {self.selfy_indices}.')
        self.selfy = _Blocks({
            self._stages[i]:
            MODELS.build({
                'in_channels': channels[i],
                'num_segments': num_segments[i],
                'with_cp': self.with_cp,
                **kwargs,
                **selfy
            })
            for i in self.selfy_indices
        })
        # MMAction2 would try to load a 2D network even without `pretrained`.
        self.pretrained2d = self.pretrained2d and self.pretrained is not None

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """[N * T, 3, H, W] => feature maps of the stages in out_indices.

        Raises:
            ValueError: If the batch is not a multiple of num_segments.
        """
        if x.shape[0] % self.num_segments:
            raise ValueError(
                f'{x.shape[0]} frames should be a multiple of '
                f'model.backbone.num_segments={self.num_segments}: set it to '
                'what the pipeline samples (clip_len x num_clips).')
        x = self._stem(x)
        outs = []
        for i, name in enumerate(self._stages):
            x = getattr(self, name)(x)
            if i in self.selfy_indices:
                x = self.selfy[name](x)
            if i in self.out_indices:
                outs.append(x)
        return outs[0] if len(outs) == 1 else tuple(outs)

    def load_original_weights(self, logger: MMLogger) -> None:
        """Load a 2D network, which has no weights for the blocks."""
        blocks, self.selfy = self.selfy, nn.ModuleDict()
        # MMAction2 prints a line for each shifted convolution, and logs the
        # names of the 2D classifier.
        with contextlib.redirect_stdout(io.StringIO()):
            super().load_original_weights(logging.Logger('', logging.WARNING))
        self.selfy = blocks

    def init_weights(self) -> None:
        """Initialise from ``pretrained``, or from scratch if it is None.

        Raises:
            ValueError: If ``pretrained`` lacks weights, other than those of
                the blocks.
        """
        self._loads_pretrained = self.pretrained is not None
        super().init_weights()
        self._loads_pretrained = False
        # MMEngine does not where it loads weights.
        if self.selfy and not self.selfy.is_init:
            self.selfy.init_weights()

    def _check_pretrained(self, given: dict) -> None:
        """Raise unless all weights but those of the blocks are given.

        MMAction2 and MMEngine load what fits, which may be nothing.
        """
        missing = [
            key for key, value in self.state_dict().items()
            if not key.startswith('selfy.')
            # absent in old files
            and not key.endswith('num_batches_tracked') and
            not _fits(value, given.get(key))
        ]
        if missing:
            raise ValueError(
                f'model.backbone.pretrained={self.pretrained} has no fitting '
                f'{missing[0]} (of {len(missing)} that it lacks): give '
                'weights of the same backbone; those of a whole recognizer go '
                'to load_from.')

    def _load_from_state_dict(self, state_dict, prefix, *args):
        fault = find_shift_fault((prefix + key for key in self.state_dict()),
                                 state_dict)
        if fault:
            raise ValueError('The checkpoint does not fit the backbone: '
                             f'{fault}')
        if self._loads_pretrained:
            self._check_pretrained(state_dict)
        super()._load_from_state_dict(state_dict, prefix, *args)


@MODELS.register_module()
class ResNetSELFY(_SELFYBackbone, ResNetTSM):
    """SELFYNet: a TSM or TSN ResNet with SELFY blocks (Sec. 3.4).

    Args:
        depth (int): Depth of the ResNet: 18, 34, 50, 101 or 152.
        num_segments (int): Frames per clip. Defaults to 8.
        is_shift (bool): Whether to shift features in time: TSM with, TSN
            without. Defaults to True.
        selfy (dict): Type and arguments of the blocks; those that follow
            from the backbone need not be named.
            Defaults to ``dict(type='SELFYBlock')``.
        selfy_indices (Sequence[int]): The stages that a block follows,
            counted from 0; (1, ) is after res3 of the paper.
            Defaults to (1, ).
        pretrained (str, optional): 2D weights, such as
            'torchvision://resnet50'; from scratch if None.
            Defaults to None.
        **kwargs: Other arguments of MMAction2's ResNetTSM.

    ``frozen_stages`` and ``partial_bn`` do not affect the blocks, since no 2D
    network has weights for them; ``norm_eval`` applies to all norms.

    Raises:
        ValueError: If there is no ResNet of this depth, or if a stage does
            not exist or is named twice.
    """

    def __init__(self,
                 depth: int,
                 num_segments: int = 8,
                 is_shift: bool = True,
                 selfy: dict = dict(type='SELFYBlock'),
                 selfy_indices: Sequence[int] = (1, ),
                 pretrained: str | None = None,
                 **kwargs):
        if depth not in self.arch_settings:
            raise ValueError(f'depth must be one of {[*self.arch_settings]}, '
                             f'but got {depth!r}.')
        super().__init__(
            depth,
            num_segments=num_segments,
            is_shift=is_shift,
            pretrained=pretrained,
            **kwargs)
        # MMAction2's temporal pooling is before the second stage.
        pooled = num_segments // 2 if self.temporal_pool else num_segments
        self._add_selfy(
            selfy,
            selfy_indices,
            channels=[
                self.block.expansion * 64 * 2**i
                for i in range(self.num_stages)
            ],
            num_segments=[num_segments] + [pooled] * (self.num_stages - 1))

    def make_temporal_shift(self) -> None:
        """Shift the existing stages; MMAction2's method expects all four."""
        missing = [f'layer{i}' for i in range(self.num_stages + 1, 5)]
        for name in missing:
            self.add_module(name, nn.Sequential())
        super().make_temporal_shift()
        for name in missing:
            delattr(self, name)

    @property
    def _stages(self) -> Sequence[str]:
        return self.res_layers

    def _stem(self, x: Tensor) -> Tensor:
        return self.maxpool(self.conv1(x))

    def train(self, mode: bool = True) -> 'ResNetSELFY':
        """Set the mode, except of frozen parts; unlike MMAction2's method,
        return the backbone itself."""
        super().train(mode)
        if mode and self.partial_bn:
            for module in self.selfy.modules():
                if isinstance(module, _BatchNorm):
                    module.train(not self.norm_eval).requires_grad_()
        return self


@MODELS.register_module()
class MobileNetV2SELFY(_SELFYBackbone, MobileNetV2TSM):
    """SELFYNet on MobileNetV2.

    Args:
        num_segments (int): Frames per clip. Defaults to 8.
        is_shift (bool): Whether to shift features in time: TSM with, TSN
            without. Defaults to True.
        selfy (dict): See :class:`ResNetSELFY`.
        selfy_indices (Sequence[int]): The stages that a block follows,
            counted from 0. Stage 2 ends at the resolution of a ResNet's
            res3. Defaults to (2, ).
        pretrained (str, optional): 2D weights; from scratch if None.
            Defaults to None.
        **kwargs: Other arguments of MMAction2's MobileNetV2TSM.

    Raises:
        ValueError: If a stage does not exist or is named twice.
    """

    def __init__(self,
                 num_segments: int = 8,
                 is_shift: bool = True,
                 selfy: dict = dict(type='SELFYBlock'),
                 selfy_indices: Sequence[int] = (2, ),
                 pretrained: str | None = None,
                 **kwargs):
        super().__init__(
            num_segments=num_segments,
            is_shift=is_shift,
            pretrained=pretrained,
            **kwargs)
        bottlenecks = [getattr(self, name) for name in self._stages[:-1]]
        channels = [stage[-1].conv[-1].out_channels for stage in bottlenecks]
        # Linear bottlenecks have no activation at their end.
        self._add_selfy(
            selfy,
            selfy_indices,
            channels=channels,
            num_segments=[num_segments] * len(channels),
            relu=False)

    @property
    def _stages(self) -> Sequence[str]:
        return self.layers

    def _stem(self, x: Tensor) -> Tensor:
        return self.conv1(x)

    def train(self, mode: bool = True) -> 'MobileNetV2SELFY':
        """Set the mode, except of frozen parts; unlike MMAction2's method,
        return the backbone itself."""
        super().train(mode)
        return self
