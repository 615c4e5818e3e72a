"""Spatio-temporal self-similarity for MMAction2.

Importing this package, which is what ``custom_imports`` does, repairs what
keeps MMAction2 from today's stack and tells its registries where the
components live. ``selfy_mmaction.ops`` and the block need torch alone.
"""
from . import compat
from .version import __version__

compat.apply()

from . import registry  # noqa: E402 (MMAction2 imports after the repairs)

if registry.HAS_MMACTION:
    registry.add_locations()

__all__ = ['__version__']
