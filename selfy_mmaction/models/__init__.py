from ..registry import HAS_MMACTION
from .selfy_block import (
    SELFYBlock,
    STSSConvExtraction,
    STSSConvIntegration,
    STSSTransformation,
)

__all__ = [
    'SELFYBlock', 'STSSConvExtraction', 'STSSConvIntegration',
    'STSSTransformation'
]

if HAS_MMACTION:
    from .backbones import MobileNetV2SELFY, ResNetSELFY  # noqa: F401

    __all__ += ['MobileNetV2SELFY', 'ResNetSELFY']
