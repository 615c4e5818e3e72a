"""Parts of a pipeline: transforms, lists, loading. releases/ makes lists."""
from .transforms import (
    PillowResize,
    SelectiveFlip,
    VideoDecode,
    VideoInit,
)

__all__ = ['PillowResize', 'SelectiveFlip', 'VideoDecode', 'VideoInit']
