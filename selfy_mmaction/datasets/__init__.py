"""What a pipeline uses: transforms, lists, loading. releases/ makes lists."""
from .transforms import SelectiveFlip

__all__ = ['SelectiveFlip']
