"""Data transforms that MMAction2 lacks."""
from .. import compat
from .transforms import SelectiveFlip

compat.quiet_file_client()

__all__ = ['SelectiveFlip']
