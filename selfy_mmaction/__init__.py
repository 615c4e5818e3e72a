"""Spatio-temporal self-similarity for MMAction2.

Importing this package, as ``custom_imports`` does, applies the repairs that
MMAction2 needs on today's stack and tells its registries where the components
are. ``selfy_mmaction.ops`` and the block need only torch.
"""
from . import compat
from .version import __version__

compat.apply()

from . import registry  # noqa: E402 (MMAction2 imports after the repairs)

if registry.HAS_MMACTION:
    registry.add_locations()

__all__ = ['__version__']
