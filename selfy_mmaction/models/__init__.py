"""The SELFY block, its parts, and MMAction2's backbones with it; no training.

Sec. 3.2 of the paper is ``extraction``, 3.3 ``integration``; 3.1 is
``selfy_mmaction.ops.stss``. The block needs only torch.
"""
from ..registry import HAS_MMACTION
from .extraction import (
    STSSConvExtraction,
    STSSMLPExtraction,
    STSSSoftArgmaxExtraction,
)
from .integration import STSSConvIntegration
from .moss import MOSSBlock
from .selfy_block import SELFYBlock, STSSTransformation

__all__ = [
    'MOSSBlock', 'SELFYBlock', 'STSSConvExtraction', 'STSSConvIntegration',
    'STSSMLPExtraction', 'STSSSoftArgmaxExtraction', 'STSSTransformation'
]

if HAS_MMACTION:
    from .backbones import MobileNetV2SELFY, ResNetSELFY  # noqa: F401
    from .recognizers import BoundedViewsRecognizer2D  # noqa: F401
    from .vit import ViTSELFY  # noqa: F401

    __all__ += [
        'BoundedViewsRecognizer2D', 'MobileNetV2SELFY', 'ResNetSELFY',
        'ViTSELFY'
    ]
