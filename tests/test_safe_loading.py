"""Reading checkpoints without running code in them, however they come."""
import functools
import http.server
import os
import pickle
import threading
import urllib.error
import warnings

import mmengine
import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleLR, OneCycleParamScheduler
from mmengine.runner import CheckpointLoader

import selfy_mmaction  # noqa: F401


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


def test_other_states_load(tmp_path):
    """Of schedules and a gradient scaler, and scores of numpy 1."""
    path = tmp_path / 'x.pth'
    for strategy in 'cos', 'linear':
        weight = torch.nn.Parameter(torch.ones(1))
        schedule = OneCycleLR(
            torch.optim.SGD([weight], lr=1.),
            eta_max=1.,
            total_steps=4,
            anneal_strategy=strategy)
        scaler = torch.amp.GradScaler('cpu')
        state = schedule.state_dict() | scaler.state_dict()
        torch.save(state, path)
        assert_same(load(path), state)
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


@pytest.mark.parametrize('in_a_run', [False, True])
@pytest.mark.parametrize('attack', [
    lambda command: Call(os.system, command),
    through_history_buffer,
])
def test_pickles_that_run_code_are_refused(tmp_path, trained, attack,
                                           in_a_run):
    marker, path = tmp_path / 'marker', tmp_path / 'hostile.pth'
    content = attack(f'touch {marker}')
    if in_a_run:
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


def test_the_engine_runs_no_code_in_files(serve, tmp_path):
    url = serve({'a': Call(os.mkdir, str(tmp_path / 'mark'))})
    for source in tmp_path / 'x.pth', url:
        with pytest.raises(ValueError, match=r'x.pth is not .*\(posix.mkdir'):
            load_by_engine(source)
    # onedl-mmengine calls this, and without us once more, unsafely
    with pytest.raises(pickle.UnpicklingError):
        mmengine.runner.checkpoint._safe_torch_load(tmp_path / 'x.pth')
    assert not (tmp_path / 'mark').exists()


@pytest.mark.parametrize('change, message', [
    (lambda x: x[:-30], 'is not a checkpoint, or was cut short when it was w'),
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


@pytest.mark.parametrize('error', [
    urllib.error.HTTPError('', 404, 'Not Found', None, None),
    TimeoutError('The read operation timed out'),
    http.client.IncompleteRead(b'', 9),
])
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
