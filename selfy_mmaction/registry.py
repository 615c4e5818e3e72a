"""MMAction2's registries, or a stand-in for plain PyTorch.

The block needs only torch. Where MMAction2 is installed it is registered
there; otherwise `_Models` builds its parts.
"""
from importlib import import_module

from .compat import has_mmaction

HAS_MMACTION = has_mmaction()


class _Models:
    """Builds classes by their name, as MMEngine's registry does."""

    def __init__(self):
        self._classes = {}

    def register_module(self):

        def register(cls):
            self._classes[cls.__name__] = cls
            return cls

        return register

    def build(self, cfg: dict):
        cfg = dict(cfg)
        name = cfg.pop('type')
        if name not in self._classes:
            raise KeyError(f'{name} is not one of {sorted(self._classes)}.')
        return self._classes[name](**cfg)


if HAS_MMACTION:
    from mmaction.registry import MODELS
else:
    MODELS = _Models()


def add_locations() -> None:
    """Tell MMAction2's registries where our components are.

    They are imported on the first look-up in a registry, as MMAction2's own
    are, so that ``import selfy_mmaction`` stays fast.
    """
    from mmaction import registry

    for name, location in (('MODELS', 'selfy_mmaction.models'),
                           ('TRANSFORMS', 'selfy_mmaction.datasets'),
                           ('HOOKS', 'selfy_mmaction.engine.hooks'),
                           ('PARAM_SCHEDULERS',
                            'selfy_mmaction.engine.schedules'),
                           ('METRICS', 'selfy_mmaction.evaluation.metrics'),
                           ('OPTIM_WRAPPER_CONSTRUCTORS',
                            'selfy_mmaction.engine.optimizers')):
        components = getattr(registry, name)
        if components._imported:
            import_module(location)
        elif location not in components._locations:
            components._locations.append(location)
