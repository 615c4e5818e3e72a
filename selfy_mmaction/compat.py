"""Repairs that make MMAction2 work with today's PyTorch and pip.

Each repair says what is broken and when it can be removed, and does nothing
where nothing is broken. Without MMAction2 there is nothing to repair:
``selfy_mmaction.ops`` then needs only PyTorch.
"""
import errno
import functools
import importlib.util
import json
import multiprocessing
import os.path as osp
import pickle
import pkgutil
import re
import sys
import threading
import warnings
from http.client import HTTPException
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from urllib.parse import urlparse

import torch


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
    restore_find_loader()
    import_mmaction()
    quiet_notices()
    drop_multimodal()
    stub_missing_drn()
    allow_runner_checkpoints()
    load_safely()


def import_mmaction():
    """Import MMAction2, with any mmcv 2, or raise a one-line error.

    MMAction2 before 1.2.0 has other data structures. It requires neither mmcv
    nor mmcv-lite, since both provide the module ``mmcv``: it asserts, and
    refuses 2.2, with which our networks compute the same. So the module shows
    another version while MMAction2 looks at it.

    Can be removed when MMAction2 accepts mmcv 2.2, and nobody uses 1.1.

    Raises:
        ImportError: With an older MMAction2, without mmcv, or with an mmcv or
            mmengine of another major version.
    """
    # Without an import, which may fail on the mmcv first.
    path = Path(importlib.util.find_spec('mmaction').origin)
    text = path.with_name('version.py').read_text()
    found = re.search(r"__version__ = '((\d+)\.(\d+).*)'", text)
    if found and (int(found[2]), int(found[3])) < (1, 2):
        raise ImportError(
            f'MMAction2 {found[1]} is installed, but selfy_mmaction needs '
            "1.2.0: pip install 'mmaction2>=1.2.0' mmcv-lite; uninstall the "
            'present mmcv first.')
    if importlib.util.find_spec('mmcv') is None:
        raise ImportError('MMAction2 needs mmcv or mmcv-lite, and neither is '
                          'installed: pip install mmcv-lite')
    import mmcv
    version = mmcv.__version__
    newer = re.match(r'2\.([2-9]|\d\d)', version)
    try:
        mmcv.__version__ = '2.1.0' if newer else version
        import mmaction  # noqa: F401
    except AssertionError as error:
        # MMAction2's message names the version found and the range.
        raise ImportError(f'{error} mmcv-lite works as well; uninstall the '
                          'present mmcv first.') from None
    finally:
        mmcv.__version__ = version
    # Not from each data loading process.
    if newer and multiprocessing.parent_process() is None:
        warnings.warn(
            f'MMAction2 refuses mmcv {version}; selfy_mmaction uses it.',
            stacklevel=2)


def restore_find_loader():
    """Give ``pkgutil`` the function that Python 3.14 has removed.

    MMEngine and mmcv ask it whether mmcv has compiled operators. Can be
    removed when they use ``importlib``.
    """
    if not hasattr(pkgutil, 'find_loader'):
        pkgutil.find_loader = importlib.util.find_spec


def drop_multimodal():
    """Let MMAction2 leave out its language models where they do not import.

    They are imported with all others wherever transformers is installed, need
    timm, too, and a function that transformers 5 no longer has.

    Can be removed when ``import mmaction.models`` works with transformers 5.
    """
    from mmaction.utils import dependency
    found = importlib.util.find_spec('transformers')
    if found and not (
            importlib.util.find_spec('timm') and 'apply_chunking_to_forward'
            in Path(found.origin).with_name('modeling_utils.py').read_text(
                encoding='utf-8')):
        dependency.WITH_MULTIMODAL = False


def quiet_notices():
    """Silence notices that concern MMAction2's code, not its users.

    mmcv-lite warns about a compiled operator, which no recognizer uses, and
    MMEngine that its FileClient is deprecated, by which MMAction2 reads files.

    Can be removed when MMAction2 imports and uses neither.
    """
    from mmengine.fileio import file_client
    warnings.filterwarnings(
        'ignore', message='Fail to import ``MultiScaleDeformableAttention``')
    file_client.print_log = lambda *args, **kwargs: None


def load_safely():
    """Make MMEngine load all checkpoints with ``weights_only=True``.

    MMEngine reads downloads with ``weights_only=False``, and its fork
    onedl-mmengine any file that cannot be read otherwise: it can run code.
    MMEngine has a table of the URLs of torchvision's weights, but cannot read
    it without torchvision.

    Can be removed when MMEngine does both; errors then have PyTorch's words.
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
        return _load(osp.expanduser(filename), map_location)

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
    engine.load_url = _load_url
    # called by onedl-mmengine instead of torch.load
    engine._safe_torch_load = functools.partial(torch.load, weights_only=True)


def _load(path, map_location):
    """Load a checkpoint, or say in a line why it cannot be loaded."""
    if not osp.isfile(path):
        raise FileNotFoundError(f'checkpoint {path} does not exist.')
    try:
        return torch.load(path, map_location, weights_only=True)
    # It depends on the damage; PyTorch's message advises to load unsafely.
    except Exception as error:
        if _is_of_machine(error):
            raise
        name = re.search(r'GLOBAL (\S+)', str(error))
        reason = (f'has code in it ({name[1]})'
                  if name else 'was cut short when it was written')
        raise ValueError(f'{path} is not a checkpoint, or {reason}: give '
                         'another one.') from error


def _is_of_machine(error):
    """Whether a GPU, memory or a permission is missing; the file is fine."""
    if isinstance(error, OSError):
        return error.errno != errno.EINVAL  # of a damaged position
    return isinstance(error, (MemoryError, RuntimeError)) and re.search(
        'memory|CUDA', str(error))


def _load_url(url, model_dir=None, map_location=None, progress=True):
    """Load a checkpoint from an address, or the copy in torch.hub's folder."""
    folder = model_dir or osp.join(torch.hub.get_dir(), 'checkpoints')
    path = Path(folder, osp.basename(urlparse(url).path))
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), progress=progress)
        # network or disk; broken connection; invalid URL
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, 'reason', error)
            raise OSError(
                f'the download of {url} failed ({reason}): check the network, '
                'or give a file as load_from and model.backbone.pretrained.'
            ) from error
    return _load(str(path), map_location)


def _missing_drn(*args, **kwargs):
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
    package.drn.DRN = _missing_drn


def allow_runner_checkpoints():
    """Make ``torch.load`` read the checkpoints of MMEngine's runner.

    Since PyTorch 2.6 ``torch.load`` reads with ``weights_only=True``, but
    MMEngine's runner saves more than weights: the history of every logged
    value as a ``HistoryBuffer`` of numpy arrays, numpy scalars among the
    scores, and the curve of a ``OneCycleLR``, which is a function. While a
    file is loaded, just these are among the names that PyTorch allows. The
    check itself stays on.

    Can be removed with the first MMEngine after 0.10.7 that does this itself.
    """
    load, lock, ours = torch.load, threading.RLock(), _runner_names()

    @functools.wraps(load)
    def load_with_runner_names(*args, **kwargs):
        with lock:
            # PyTorch allows a set of pairs, and takes any of two for a name:
            # where a user allows a name, only the user's object is there.
            users = {
                x[1]
                if isinstance(x, tuple) else f'{x.__module__}.{x.__qualname__}'
                for x in torch.serialization.get_safe_globals()
            }
            allowed = [(x, name) for name, x in ours.items()
                       if name not in users]
            with torch.serialization.safe_globals(allowed):
                return load(*args, **kwargs)

    torch.load = torch.serialization.load = load_with_runner_names


def _runner_names():
    """What to allow by which name in the checkpoint of a runner.

    A pickle may call an allowed name with any arguments. With ``getattr``,
    ``numpy.dtype`` and ``numpy.ndarray`` it could run code or forge object
    pointers, so these names map to stand-ins that accept only what a runner's
    checkpoint needs.
    """
    import numpy as np
    from mmengine.logging import HistoryBuffer

    names = {
        f'{HistoryBuffer.__module__}.HistoryBuffer':
        HistoryBuffer,
        'builtins.getattr':
        _getattr,
        'numpy.dtype':
        _dtype,
        'numpy.ndarray':
        _only_named('numpy.ndarray'),
        'mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler':
        _one_cycle
    }
    # These live in numpy.core or, since 2.0, numpy._core.
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        names[f'{module}._reconstruct'] = _reconstruct
        names[f'{module}.scalar'] = np.float64().__reduce__()[0]
    # An object's state is set only if its class is listed. A pickle asks for
    # module.name, so it cannot reach the class by a name without a dot.
    for cls in (np.ndarray, *(type(np.dtype(code)) for code in _DTYPES)):
        names[cls.__name__] = cls
    return names


def _only_named(name):
    """A stand-in for what a checkpoint passes on, but does not call."""

    def call(*args):
        raise pickle.UnpicklingError(
            f'a call of {name} is not part of a runner checkpoint.')

    return call


_DTYPES = ('f8', 'i8')
_one_cycle = _only_named('OneCycleParamScheduler')


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


def _reconstruct(cls, shape, code):
    """An empty array whose state is set next, as numpy's function gives."""
    import numpy as np
    return np.empty(0)
