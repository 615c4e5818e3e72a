"""SELFYNet on transformers: VideoMAE's ViT with blocks after chosen layers.

B clips of T frames, T' tubelets (of two frames by default), h x w patches of
a frame.
"""
import inspect
from collections.abc import Sequence
from functools import partial

from mmaction.models.backbones.vit_mae import VisionTransformer
from torch import Tensor, nn

from ..registry import MODELS
from .backbones import _SELFYBackbone
from .layouts import add_to_tokens


@MODELS.register_module()
class ViTSELFY(_SELFYBackbone, VisionTransformer):
    """VideoMAE's vision transformer with SELFY blocks.

    A block treats the output tokens of a layer as feature maps, one per
    tubelet; the next layer normalises them.

    Args:
        selfy (dict): Type and arguments of the blocks; those that follow
            from the backbone need not be named.
            Defaults to ``dict(type='SELFYBlock')``.
        selfy_indices (Sequence[int]): The layers that a block follows,
            counted from 0. Defaults to (5, ), half of ViT-B's twelve.
        embed_dims (int): Channels of a token. Defaults to 768.
        depth (int): Number of layers. Defaults to 12.
        num_frames (int): Frames per clip. Defaults to 16.
        tubelet_size (int): Frames per token. Defaults to 2.
        pretrained (str, optional): A checkpoint of the backbone alone; from
            scratch if None. Defaults to None.
        frozen_stages (int): How many layers are frozen, besides the patch
            embedding; if all are, so is the last norm, and only the blocks
            and the head are trained. Blocks are never frozen. Defaults to
            -1: the embedding is trained as well.
        **kwargs: Other arguments of MMAction2's VisionTransformer.

    Raises:
        ValueError: If a layer does not exist or is named twice, or if the
            frames are not a multiple of the tubelet.
        TypeError: If VisionTransformer has no such argument.
    """

    # Attributes that the mixin needs and VisionTransformer does not have.
    with_cp = False
    pretrained2d = False

    def __init__(self,
                 selfy: dict = dict(type='SELFYBlock'),
                 selfy_indices: Sequence[int] = (5, ),
                 embed_dims: int = 768,
                 depth: int = 12,
                 num_frames: int = 16,
                 tubelet_size: int = 2,
                 pretrained: str | None = None,
                 frozen_stages: int = -1,
                 **kwargs):
        # MMAction2's class accepts any argument.
        unknown = kwargs.keys() - inspect.signature(
            VisionTransformer).parameters.keys()
        if unknown:
            raise TypeError(f'ViTSELFY has no argument {min(unknown)}: check '
                            'its spelling.')
        if num_frames % tubelet_size:
            raise ValueError(
                'num_frames must be a multiple of tubelet_size, but got '
                f'num_frames={num_frames} and tubelet_size={tubelet_size}.')
        if frozen_stages not in range(-1, depth + 1):
            raise ValueError(f'frozen_stages must be from -1 to {depth}, the '
                             f'number of layers, but got {frozen_stages}.')
        if pretrained:
            # MMAction2's class ignores it.
            kwargs['init_cfg'] = dict(type='Pretrained', checkpoint=pretrained)
        super().__init__(
            embed_dims=embed_dims,
            depth=depth,
            num_frames=num_frames,
            tubelet_size=tubelet_size,
            **kwargs)
        self.num_frames = num_frames
        self.pretrained = pretrained
        self.frozen_stages = frozen_stages
        self._add_selfy(
            selfy,
            selfy_indices,
            channels=[embed_dims] * depth,
            num_segments=[num_frames // tubelet_size] * depth,
            # No activation is applied to a residual stream.
            relu=False)
        # MMAction2 runs the layers in one loop, within its forward.
        for i in self.selfy_indices:
            self.blocks[i].register_forward_hook(
                partial(self._add_motion, self._stages[i]))
        for module in self._frozen_modules():
            module.requires_grad_(False)
        if frozen_stages >= 0:
            self.pos_embed.requires_grad_(False)

    @property
    def _stages(self) -> Sequence[str]:
        return [str(i) for i in range(len(self.blocks))]

    def _frozen_modules(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        frozen = [
            self.patch_embed, self.pos_drop, *self.blocks[:self.frozen_stages]
        ]
        if self.frozen_stages == len(self.blocks):
            frozen += filter(None, (self.norm, self.fc_norm))
        return frozen

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, T, H, W] => [B, C], or [B, C, T', h, w] where
        ``return_feat_map`` is set.

        Raises:
            ValueError: If the clips have another number of frames.
        """
        frames, *size = x.shape[2:]
        if frames != self.num_frames:
            raise ValueError(
                f'ViTSELFY takes clips of num_frames={self.num_frames} '
                f'frames, but got clips of {frames}.')
        self._map_size = [n // self.patch_size for n in size]
        return VisionTransformer.forward(self, x)

    def _add_motion(self, name: str, layer: nn.Module, args: tuple,
                    tokens: Tensor) -> Tensor:
        """[B, T' * h * w, C] => [B, T' * h * w, C]"""
        return add_to_tokens(self.selfy[name], tokens, self._map_size)

    def init_weights(self) -> None:
        """Initialise from a checkpoint, or from scratch."""
        # The initialisation of the transformer's linear layers would
        # overwrite that of the blocks.
        blocks, self.selfy = self.selfy, nn.ModuleDict()
        super().init_weights()
        self.selfy = blocks
        blocks.init_weights()

    def train(self, mode: bool = True) -> 'ViTSELFY':
        """Set the mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        return self
