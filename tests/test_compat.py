"""The repairs, each on the real thing: real checkpoints, a real server."""
import contextlib
import functools
import http.server
import os
import pickle
import socket
import subprocess
import sys
import sysconfig
import threading
import urllib.error
import warnings
from pathlib import Path

import mmaction
import mmcv
import mmengine
import numpy as np
import pytest
import torch
from mmengine.fileio import FileClient
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleLR, OneCycleParamScheduler
from mmengine.runner import CheckpointLoader

import selfy_mmaction
from selfy_mmaction import compat

ROOT = Path(__file__).resolve().parent.parent
SITE = Path(sysconfig.get_path('purelib'))


def python(*args, path=ROOT):
    """Run a fresh Python that finds our package, or those in a folder."""
    env = dict(os.environ, PYTHONPATH=str(path), PYTHONWARNINGS='ignore')
    return subprocess.run([sys.executable, *args],
                          capture_output=True,
                          text=True,
                          env=env)


# MMAction2's import


def test_models_import_after_ours_only():
    if (Path(mmaction.__file__).parent / 'models/localizers/drn').exists():
        pytest.skip('this MMAction2 is whole')
    broken = python('-c', 'import mmaction.models')
    assert 'mmaction.models.localizers.drn' in broken.stderr
    repaired = python(
        '-c', 'import selfy_mmaction, sys;'
        'print(*sorted({"mmaction.models", "mmaction.datasets"}'
        ' & set(sys.modules)), "early");'
        'import mmaction.models; print(mmaction.models.TSMHead.__name__);'
        'mmaction.models.localizers.DRN()')
    # Our import is fast; the stub raises when it is used.
    assert repaired.stdout.split() == ['early', 'TSMHead']
    assert repaired.stderr.splitlines()[-1].startswith(
        'ImportError: this installation of MMAction2 lacks')


@pytest.mark.parametrize('imports, has, stubbed', [(True, False, True),
                                                   (True, True, False),
                                                   (False, False, False)])
def test_whole_installations_are_left_alone(imports, has, stubbed, tmp_path,
                                            monkeypatch):
    folder = tmp_path / 'models/localizers'
    (folder / 'drn' if has else folder).mkdir(parents=True)
    (folder /
     '__init__.py').write_text('from .drn.drn import DRN\n' if imports else '')
    monkeypatch.setattr(mmaction, '__file__', str(tmp_path / '__init__.py'))
    name = 'mmaction.models.localizers.drn'
    for module in name, f'{name}.drn':
        monkeypatch.delitem(sys.modules, module, raising=False)
    compat.stub_missing_drn()
    assert (name in sys.modules) == stubbed


@pytest.fixture
def site(tmp_path):
    """A copy of site-packages, by links, without MMAction2."""
    folder = tmp_path / 'site-packages'
    folder.mkdir()
    for entry in SITE.iterdir():
        if not entry.name.startswith(
            ('mmaction', 'mmengine', 'mmcv', '__editable__')):
            (folder / entry.name).symlink_to(entry)
    (folder / 'selfy_mmaction').symlink_to(ROOT / 'selfy_mmaction')
    return folder


def test_without_mmaction(site):
    run = python(
        '-S',
        '-c', 'import torch; load = torch.load;'
        'from selfy_mmaction import SELFYBlock, stss;'
        'print(*stss(torch.rand(1, 2, 3, 4, 4)).shape, torch.load is load);'
        'from selfy_mmaction import ResNetSELFY',
        path=site)
    assert run.stdout.strip() == '1 2 4 4 5 9 9 True', run.stderr
    assert run.stderr.splitlines()[-1] == (
        'ImportError: ResNetSELFY needs MMAction2: pip install mmaction2 '
        'mmcv-lite')


@pytest.mark.parametrize('name', selfy_mmaction.__all__)
def test_public_names(name):
    if name.endswith('_selfy'):
        pytest.importorskip('selfy_mmaction.models.insert')
    assert name in dir(selfy_mmaction)
    value = getattr(selfy_mmaction, name)
    assert name == '__version__' or value.__name__ == name


def test_other_names():
    with pytest.raises(AttributeError, match="has no attribute 'Selfy'"):
        selfy_mmaction.Selfy  # noqa: B018


@pytest.mark.parametrize('version', ['1.1.0', '0.24.1'])
def test_too_old_mmaction_is_one_line(version, tmp_path, monkeypatch):
    (tmp_path / 'mmaction').mkdir()
    (tmp_path / 'mmaction/__init__.py').write_text('assert False')
    (tmp_path /
     'mmaction/version.py').write_text(f"__version__ = '{version}'\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'mmaction')
    with pytest.raises(ImportError) as info:
        compat.import_mmaction()
    assert str(info.value) == (
        f'MMAction2 {version} is installed, but selfy_mmaction needs 1.2.0: '
        "pip install 'mmaction2>=1.2.0' mmcv-lite; uninstall the present mmcv "
        'first.')


@pytest.mark.parametrize('version, result', [
    ('2.0.0', None),
    ('2.2.0', UserWarning),
    ('2.3.6', UserWarning),
    ('2.10.1', UserWarning),
    ('3.0.0', ImportError),
    ('1.7.2', ImportError),
])
def test_versions_of_mmcv(version, result, monkeypatch):
    """MMAction2 is imported anew, with an mmcv that has another version."""
    monkeypatch.setattr(mmcv, '__version__', version)
    monkeypatch.delitem(sys.modules, 'mmaction')
    match = f'mmcv {version}|MMCV=={version} .*<2.2.0.* mmcv-lite works'
    if result is ImportError:
        context = pytest.raises(result, match=match)
    else:
        context = pytest.warns(
            result, match=match) if result else (contextlib.nullcontext())
    with context:
        compat.import_mmaction()
    assert ('mmaction' in sys.modules) == (result is not ImportError)
    assert mmcv.__version__ == version


def test_missing_mmcv_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmcv', None)
    with pytest.raises(ImportError, match='^MMAction2 needs mmcv or mmcv-l.*'):
        compat.import_mmaction()


def test_the_file_api_of_mmaction_is_not_mentioned(capfd):
    FileClient('disk')
    assert capfd.readouterr() == ('', '')


# Checkpoints of MMEngine's runner


def load(path, weights_only=True):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return torch.load(path, weights_only=weights_only)


def assert_same(a, b):
    """Compare what two ways of reading one file give."""
    assert type(a) is type(b)
    if isinstance(a, HistoryBuffer):
        assert_same(vars(a), vars(b))
    elif isinstance(a, (dict, list, tuple)):
        if isinstance(a, dict):
            a, b = [*a.items()], [*b.items()]
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, (np.ndarray, torch.Tensor)):
        assert a.dtype == b.dtype and bool((a == b).all())
    else:
        assert a == b


def test_runner_checkpoints_load_with_weights_only(trained):
    with pytest.raises(pickle.UnpicklingError):
        torch.load.__wrapped__(trained.checkpoint)
    safe = load(trained.checkpoint)
    assert isinstance(safe['message_hub']['log_scalars']['train/loss'],
                      HistoryBuffer)
    assert_same(safe, load(trained.checkpoint, weights_only=False))


@pytest.mark.parametrize('strategy', ['cos', 'linear'])
def test_one_cycle_schedules_load(tmp_path, strategy):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.)
    schedule = OneCycleLR(
        optimizer, eta_max=1., total_steps=4, anneal_strategy=strategy)
    scaler = torch.amp.GradScaler('cpu')
    state = schedule.state_dict() | scaler.state_dict()
    torch.save(state, tmp_path / 'x.pth')
    assert_same(load(tmp_path / 'x.pth'), state)


def test_checkpoints_from_numpy_1_load(tmp_path):
    path = tmp_path / 'old.pth'
    score = dict(scores=np.arange(3.), best=np.float64(.5))
    torch.save(score, path, _use_new_zipfile_serialization=False)
    pickled = path.read_bytes()
    assert b'numpy._core.multiarray' in pickled
    path.write_bytes(pickled.replace(b'numpy._core.', b'numpy.core.'))
    assert_same(load(path), score)


def test_what_a_user_allows_stays_as_it_is(tmp_path):
    """Whatever the order of PyTorch's set of names is."""
    torch.save(np.ndarray, tmp_path / 'x.pth')
    for i in range(20):
        own = type(f'Own{i}', (), {})
        with torch.serialization.safe_globals([(own, 'numpy.ndarray')]):
            assert load(tmp_path / 'x.pth') is own
    array = np.ones(3, np.float32)
    torch.save(array, tmp_path / 'x.pth')
    with pytest.raises(pickle.UnpicklingError, match='float32|f4'):
        load(tmp_path / 'x.pth')
    names = [array.__reduce__()[0], np.ndarray, np.dtype, type(array.dtype)]
    with torch.serialization.safe_globals(names):
        assert_same(load(tmp_path / 'x.pth'), array)


class Call:
    """Pickles as a call of a function, made when the pickle is read."""

    def __init__(self, function, *args, state=None):
        self.reduced = (function, args, state)

    def __reduce__(self):
        return self.reduced

    def __call__(self):
        """Only there for pickle, which wants a callable in first place."""


def attribute(obj, *names):
    for name in names:
        obj = Call(getattr, obj, name)
    return obj


def through_history_buffer(command):
    """From a method of HistoryBuffer to os.system, by getattr."""
    names = attribute(HistoryBuffer, 'min', '__globals__')
    modules = attribute(
        Call(attribute(names, 'get'), 'warnings'), 'sys', 'modules')
    return Call(
        attribute(Call(attribute(modules, 'get'), 'os'), 'system'), command)


HOSTILE = {
    'os.system': lambda command: Call(os.system, command),
    'eval':
    lambda command: Call(eval, f'__import__("os").system({command!r})'),
    'getattr through HistoryBuffer': through_history_buffer,
}


@pytest.mark.parametrize('place', ['bare', 'message_hub'])
@pytest.mark.parametrize('kind', HOSTILE)
def test_pickles_that_run_code_are_refused(tmp_path, trained, kind, place):
    marker, path = tmp_path / 'marker', tmp_path / 'hostile.pth'
    content = HOSTILE[kind](f'touch {marker}')
    if place == 'message_hub':
        method, content = content, load(trained.checkpoint)
        history = content['message_hub']['log_scalars']['train/loss']
        history._statistics_methods = dict(min=method)
    torch.save(content, path)
    with pytest.raises(pickle.UnpicklingError):
        load(path)
    assert not marker.exists()
    # It would have run.
    load(path, weights_only=False)
    assert marker.exists()


LIE = (3, '<', None, None, None, -1, -1, 63)  # items are object pointers


@pytest.mark.parametrize('forged', [
    attribute(HistoryBuffer, '__init__'),
    attribute(HistoryBuffer, '_statistics_methods'),
    attribute(HistoryBuffer([1.], [1]), 'min'),
    attribute(OneCycleParamScheduler, 'build_iter_from_epoch'),
    attribute('', 'join'),
    Call(OneCycleParamScheduler, None),
    Call(np.ndarray, (1, ), 'O', bytes(range(8))),
    Call(np.ndarray, (1, ), 'f8', bytes(8)),
    Call(np.dtype, 'O'),
    Call(np.dtype, [('a', 'O')]),
    Call(type(np.dtype('f8'))),
])
def test_stand_ins_accept_nothing_else(tmp_path, forged):
    torch.save(forged, tmp_path / 'x.pth')
    with pytest.raises(pickle.UnpicklingError):
        load(tmp_path / 'x.pth')


def test_flags_of_a_dtype_cannot_be_forged(tmp_path):
    torch.save(
        Call(np.dtype, 'f8', False, True, state=LIE), tmp_path / 'x.pth')
    assert load(tmp_path / 'x.pth', weights_only=False).hasobject
    assert not load(tmp_path / 'x.pth').hasobject
    assert not np.dtype('f8').hasobject


# What MMEngine loads where this package is imported


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Put a file on a server of this machine; return its address."""
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()

        def put(content):
            torch.save(content, tmp_path / 'x.pth')
            return f'http://127.0.0.1:{server.server_port}/x.pth'

        yield put
        server.shutdown()
        thread.join()


def load_by_engine(source, map_location='cpu'):
    return CheckpointLoader.load_checkpoint(
        str(source), map_location, logger='silent')


def test_downloads(serve, tmp_path):
    url = serve({'a': torch.ones(2)})
    for _ in range(2):  # from the server, then from torch.hub's folder
        assert torch.equal(load_by_engine(url)['a'], torch.ones(2))
        (tmp_path / 'x.pth').unlink(missing_ok=True)


@pytest.mark.parametrize('local', [True, False])
def test_mmengine_runs_no_code_in_files(local, serve, tmp_path):
    url = serve({'a': Call(os.mkdir, str(tmp_path / 'mark'))})
    with pytest.raises(ValueError, match=r'x.pth is not a .* \(posix.mkdir\)'):
        load_by_engine(tmp_path / 'x.pth' if local else url)
    assert not (tmp_path / 'mark').exists()


def test_an_engine_that_falls_back_runs_no_code(tmp_path):
    """onedl-mmengine calls this, and without us once more, unsafely."""
    torch.save(Call(os.mkdir, str(tmp_path / 'mark')), tmp_path / 'x.pth')
    with pytest.raises(pickle.UnpicklingError):
        mmengine.runner.checkpoint._safe_torch_load(tmp_path / 'x.pth')
    assert not (tmp_path / 'mark').exists()


@pytest.mark.parametrize('change, message', [
    (lambda x: x[:-30], 'is not a checkpoint, or was cut short when it was w'),
    (lambda x: b'text', 'is not a checkpoint, or was cut short when it was w'),
    (None, 'does not exist'),
])
def test_what_cannot_be_read_is_named(change, message, tmp_path):
    path = tmp_path / 'x.pth'
    if change:
        torch.save(torch.ones(9), path)
        path.write_bytes(change(path.read_bytes()))
    with pytest.raises((OSError, ValueError), match=f'x.pth {message}'):
        load_by_engine(path)


def full(storage, location):
    raise torch.OutOfMemoryError('CUDA out of memory. Tried to ...')


@pytest.mark.parametrize('place', [full, 'cuda:99'])
def test_a_missing_or_full_gpu_is_no_fault_of_the_file(place, tmp_path):
    torch.save(torch.ones(2), tmp_path / 'x.pth')
    with pytest.raises(RuntimeError, match='CUDA'):
        load_by_engine(tmp_path / 'x.pth', place)


@pytest.mark.parametrize(
    'error', [
        urllib.error.URLError(
            socket.gaierror(socket.EAI_NONAME, 'Name or service not known')),
        urllib.error.HTTPError('', 404, 'Not Found', None, None),
        TimeoutError('The read operation timed out'),
        http.client.IncompleteRead(b'', 9),
    ],
    ids=str)
def test_a_failed_download_says_what_it_was(error, monkeypatch, tmp_path):

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, 'urlopen', fail)
    with pytest.raises(OSError) as info:
        load_by_engine('https://a.org/x.pth')
    reason = str(getattr(error, 'reason', error))
    assert str(info.value) == (
        f'the download of https://a.org/x.pth failed ({reason}): check the '
        'network, or give a file as load_from and model.backbone.pretrained.')
