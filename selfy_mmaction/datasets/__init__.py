"""Parts of a pipeline: transforms, lists, loading. releases/ makes lists."""
from .transforms import PillowResize, SelectiveFlip

__all__ = ['PillowResize', 'SelectiveFlip']
