"""Data transforms that MMAction2 lacks."""
from .transforms import SelectiveFlip

__all__ = ['SelectiveFlip']
