"""Repairs that make MMAction2 work with today's PyTorch and pip.

Each repair says what is broken and when it can be removed, and does nothing
where nothing is broken. Without MMAction2 there is nothing to repair:
``selfy_mmaction.ops`` then needs only PyTorch.
"""
import functools
import importlib.util
import json
import os.path as osp
import pickle
import re
import sys
import warnings
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

import torch

from . import pickles


def has_mmaction() -> bool:
    """Whether MMAction2 can be imported."""
    try:
        return importlib.util.find_spec('mmaction') is not None
    except ImportError:  # an import hook forbids it
        return False


def apply():
    """Apply every repair; called when ``selfy_mmaction`` is imported."""
    if not has_mmaction():
        return
    check_mmaction()
    check_mmcv()
    quiet_mmcv_lite()
    quiet_file_client()
    stub_missing_drn()
    allow_runner_checkpoints()
    load_safely()


def check_mmaction():
    """Raise a one-line error if MMAction2 is too old.

    Versions before 1.2.0 have other data structures, and refuse mmcv 2.1. The
    version is read without an import, which may fail on the mmcv first.

    Can be removed when nobody uses MMAction2 before 1.2.0.

    Raises:
        ImportError: If MMAction2 is older.
    """
    path = Path(importlib.util.find_spec('mmaction').origin)
    text = path.with_name('version.py').read_text()
    version = re.search(r"__version__ = '((\d+)\.(\d+).*)'", text)
    if version and (int(version[2]), int(version[3])) < (1, 2):
        raise ImportError(
            f'MMAction2 {version[1]} is installed, but selfy_mmaction needs '
            "1.2.0: pip install 'mmaction2>=1.2.0' 'mmcv-lite==2.1.0'; "
            'uninstall the present mmcv first.')


def check_mmcv():
    """Raise a one-line error if mmcv is missing or has a wrong version.

    mmcv and mmcv-lite both provide the module ``mmcv``, so this package can
    require neither, and MMAction2 requires neither: it asserts.

    Can be removed when MMAction2 itself requires a version of mmcv.

    Raises:
        ImportError: Without mmcv, or with versions of mmcv and mmengine that
            the installed MMAction2 refuses.
    """
    if importlib.util.find_spec('mmcv') is None:
        raise ImportError(
            'MMAction2 needs mmcv or mmcv-lite, and neither is installed: '
            'pip install mmcv-lite==2.1.0')
    try:
        import mmaction  # noqa: F401
    except AssertionError as error:
        # MMAction2's message names the version found and the range.
        raise ImportError(f'{error} mmcv-lite works as well; uninstall the '
                          'present mmcv first.') from None


def quiet_mmcv_lite():
    """Silence mmcv-lite's warning about a compiled operator at each start.

    No recognizer of this package or of MMAction2 uses it.

    Can be removed when MMAction2 no longer imports mmcv's transformers.
    """
    warnings.filterwarnings(
        'ignore', message='Fail to import ``MultiScaleDeformableAttention``')


def quiet_file_client():
    """Silence MMEngine's notices that its FileClient is deprecated.

    MMAction2 reads videos and frames by it.

    Can be removed when MMAction2 no longer does.
    """
    from mmengine.fileio import file_client
    file_client.print_log = lambda *args, **kwargs: None


def load_safely():
    """Make MMEngine load checkpoints by :mod:`selfy_mmaction.pickles`.

    MMEngine reads downloads with ``weights_only=False``, and its fork
    onedl-mmengine does so with any file that cannot be read otherwise: such a
    file can run code. MMEngine also has its own table of the URLs of
    torchvision's weights, but asks torchvision for its version before it
    reads the table.

    Can be removed when MMEngine loads safely, in bounded time, and reads the
    table without torchvision.
    """
    name = 'mmengine.runner.checkpoint'
    if name in sys.modules:
        _replace_loaders(sys.modules[name])
    else:
        # MMEngine's runner takes a second to import.
        sys.meta_path.insert(0, _RepairOnImport(name, _replace_loaders))


class _RepairOnImport:
    """An import hook that repairs a module as soon as it is imported."""

    def __init__(self, name, repair):
        self.name = name
        self.repair = repair

    def find_spec(self, name, path=None, target=None):
        if name != self.name:
            return None
        spec = PathFinder.find_spec(name, path)
        run = spec.loader.exec_module

        def run_and_repair(module):
            run(module)
            self.repair(module)

        spec.loader.exec_module = run_and_repair
        return spec


def _replace_loaders(engine):
    """Replace the loaders in ``mmengine.runner.checkpoint``."""
    register = engine.CheckpointLoader.register_scheme

    def load_from_local(filename, map_location=None):
        return pickles.load(osp.expanduser(filename), map_location)

    def load_from_torchvision(filename, map_location=None):
        table = Path(engine.__file__).parents[1] / 'hub/torchvision_0.12.json'
        urls = json.loads(table.read_text())
        name = filename.removeprefix('torchvision://')
        if name not in urls:
            raise ValueError(
                f'{filename} is not in {table}; names are {", ".join(urls)}.')
        return engine.load_from_http(urls[name], map_location=map_location)

    register(prefixes='', loader=load_from_local, force=True)
    if importlib.util.find_spec('torchvision') is None:
        register(
            prefixes='torchvision://',
            loader=load_from_torchvision,
            force=True)
    # called for every download
    engine.load_url = pickles.load_url
    # called by onedl-mmengine instead of torch.load
    engine._safe_torch_load = functools.partial(torch.load, weights_only=True)


class _MissingDRN:
    """Replaces DRN where the installation of MMAction2 lacks it."""

    def __init__(self, *args, **kwargs):
        raise ImportError('this installation of MMAction2 lacks '
                          'mmaction/models/localizers/drn; install MMAction2 '
                          'from source to use DRN.')


def stub_missing_drn():
    """Make ``import mmaction.models`` work without the folder of DRN.

    The wheel of mmaction2 1.2.0 imports ``mmaction.models.localizers.drn``
    but does not contain it (the folder has no ``__init__.py``). A source tree
    has the folder.

    Can be removed with the first wheel after 1.2.0 that contains the folder.
    """
    import mmaction
    localizers = Path(mmaction.__file__).parent / 'models' / 'localizers'
    imports_drn = '.drn.drn' in (localizers / '__init__.py').read_text()
    if not imports_drn or (localizers / 'drn').exists():
        return
    name = 'mmaction.models.localizers.drn'
    package = sys.modules.setdefault(name, ModuleType(name))
    package.drn = sys.modules.setdefault(f'{name}.drn',
                                         ModuleType(f'{name}.drn'))
    package.drn.DRN = _MissingDRN


def allow_runner_checkpoints():
    """Make ``torch.load`` read the checkpoints of MMEngine's runner.

    Since PyTorch 2.6 ``torch.load`` reads with ``weights_only=True``, but
    MMEngine's runner saves more than weights: the history of every logged
    value as a ``HistoryBuffer`` of numpy arrays, numpy scalars among the
    scores, and the curve of a ``OneCycleLR``, which is a function. This adds
    just these to the names that PyTorch allows in a pickle. The check itself
    stays on.

    A pickle may call an allowed name with any arguments. With ``getattr``,
    ``numpy.dtype`` and ``numpy.ndarray`` it could run code or forge object
    pointers, so these names map to stand-ins that accept only what a runner's
    checkpoint needs.

    Can be removed with the first MMEngine after 0.10.7 that does this itself.
    """
    import numpy as np
    from mmengine.logging import HistoryBuffer

    # _reconstruct and scalar live in numpy.core or, since 2.0, numpy._core.
    scalar = np.float64().__reduce__()[0]
    names = [
        HistoryBuffer, (_getattr, 'builtins.getattr'), (_dtype, 'numpy.dtype'),
        (_ndarray, 'numpy.ndarray'),
        (_one_cycle, f'{ONE_CYCLE}.OneCycleParamScheduler')
    ]
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        names += [(_reconstruct, f'{module}._reconstruct'),
                  (scalar, f'{module}.scalar')]
    # An object's state is set only if its class is listed. A pickle asks for
    # module.name, so it cannot reach the class by a name without a dot.
    for cls in (np.ndarray, *(type(np.dtype(code)) for code in _DTYPES)):
        names.append((cls, cls.__name__))
    torch.serialization.add_safe_globals(names)


_DTYPES = ('f8', 'i8')
ONE_CYCLE = 'mmengine.optim.scheduler.param_scheduler'


def _getattr(obj, name):
    """Pickles refer by getattr to methods that a runner's objects hold."""
    from mmengine.logging import HistoryBuffer
    if obj is HistoryBuffer and name in ('min', 'max', 'mean', 'current'):
        return getattr(HistoryBuffer, name)
    if obj is _one_cycle and name in ('_annealing_cos', '_annealing_linear'):
        from mmengine.optim import OneCycleParamScheduler
        return getattr(OneCycleParamScheduler, name)
    raise pickle.UnpicklingError(
        f'getattr({obj!r}, {name!r}) is not part of a runner checkpoint.')


def _dtype(code, align=False, copy=False):
    """A numpy dtype without object pointers.

    Never a copy: setting the state of numpy's own instances has no effect,
    while a copy's flags can be forged.
    """
    import numpy as np
    if code not in _DTYPES:
        raise pickle.UnpicklingError(
            f'numpy.dtype({code!r}) is not part of a runner checkpoint.')
    return np.dtype(code)


def _ndarray(*args):
    """Only named in a pickle, as an argument of :func:`_reconstruct`."""
    raise pickle.UnpicklingError(
        'a call of numpy.ndarray is not part of a runner checkpoint.')


def _one_cycle(*args):
    """Only named in a pickle, as an argument of :func:`_getattr`."""
    raise pickle.UnpicklingError(
        'a call of OneCycleParamScheduler is not part of a runner checkpoint.')


def _reconstruct(cls, shape, code):
    """An empty array whose state is set next, as numpy's function gives."""
    import numpy as np
    return np.empty(0)
