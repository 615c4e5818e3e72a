"""Parameter groups of the optimizer."""
from mmaction.engine.optimizers import layer_decay_optim_wrapper_constructor
from mmaction.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

_layer_decay = layer_decay_optim_wrapper_constructor


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class SELFYLayerDecayConstructor(DefaultOptimWrapperConstructor):
    """Layer-wise learning rate decay for a ViT with SELFY blocks.

    MMAction2's LearningRateDecayOptimizerConstructor accepts neither batch
    norms, which the blocks have, nor subclasses of VisionTransformer. The
    layers' rates are the same here; the blocks are new and have the full
    rate, as the head does. Vectors, that is biases and the scales of norms,
    have no weight decay. ``paramwise_cfg`` has one key:

    - decay_rate (float): Factor of the rate from one layer to the previous
      one.
    """

    def _validate_cfg(self) -> None:
        super()._validate_cfg()
        if self.paramwise_cfg.keys() != {'decay_rate'}:
            raise ValueError(
                'paramwise_cfg of SELFYLayerDecayConstructor must have only '
                f'the key decay_rate, but has {[*self.paramwise_cfg]}.')

    def add_params(self, params: list[dict], module: nn.Module,
                   **kwargs) -> None:
        """Group the parameters by layer and decay.

        Args:
            params (list[dict]): The groups; those of the module are added.
            module (nn.Module): A recognizer with a VisionTransformer.
        """
        depth, groups = len(module.backbone.blocks), {}
        for name, param in module.named_parameters():
            if param.requires_grad:
                layer = _layer_decay.get_layer_id_for_vit(name, depth)
                groups.setdefault((layer, param.ndim > 1), []).append(param)
        rate = self.paramwise_cfg['decay_rate']
        params += [
            dict(
                params=group,
                lr=self.base_lr * rate**(depth + 1 - layer),
                weight_decay=self.base_wd if decays else 0.)
            for (layer, decays), group in groups.items()
        ]
