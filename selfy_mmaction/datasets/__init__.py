"""What a pipeline uses: transforms, lists, loading. releases/ makes lists."""
from .. import compat
from .transforms import PillowResize, SelectiveFlip

compat.quiet_file_client()

__all__ = ['PillowResize', 'SelectiveFlip']
