"""Spatio-temporal self-similarity for MMAction2.

Importing this package, as ``custom_imports`` does, applies the repairs that
MMAction2 needs on today's stack and tells its registries where the components
are. ``stss`` and the block need only torch.
"""
from importlib import import_module

from . import compat

__version__ = '0.1.0'

compat.apply()

from . import registry  # noqa: E402 (MMAction2 imports after the repairs)

if registry.HAS_MMACTION:
    registry.add_locations()

# Imported when they are first asked for: they take seconds.
_PLACES = {
    'stss': 'ops',
    'SELFYBlock': 'models',
    'MOSSBlock': 'models',
    'insert_selfy': 'models.insert',
    'remove_selfy': 'models.insert',
    'ResNetSELFY': 'models',
    'MobileNetV2SELFY': 'models',
    'ViTSELFY': 'models',
}
__all__ = ['__version__', *_PLACES]


def __getattr__(name):
    if name not in _PLACES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    module = import_module(f'.{_PLACES[name]}', __name__)
    if not registry.HAS_MMACTION and not hasattr(module, name):
        raise ImportError(f'{name} needs MMAction2: pip install mmaction2 '
                          'mmcv-lite')
    return getattr(module, name)


def __dir__():
    return sorted({*globals(), *__all__})
