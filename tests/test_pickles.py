"""Files of torch.save: read if they are sound, in bounded time and memory."""
import codecs
import errno
import functools
import http.server
import io
import os
import pickle
import signal
import socket
import threading
import time
import urllib.request
import zipfile
from collections import Counter, OrderedDict
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from torch import nn

from selfy_mmaction import pickles

# Commands of a pickle: an empty tuple is put into a pair with itself, which
# is put into a pair with itself ...
PAIRS = b')' + 40 * b'q\x00h\x00\x86'
LISTS = b']' + 40 * b'q\x00]h\x00ah\x00a'
# ... or stands alone in a tuple, and that in another ...
DEEP = b')' + 100_000 * b'\x85'
# ... or a list is in two tuples before both are in the list
LATE = b']q\x00' + 40 * b'h\x00h\x00\x86q\x01h\x00h\x01a'
BOMBS = {
    'key':
    b'\x80\x02}' + PAIRS + b'Ns.',
    'keys':
    b'\x80\x02}(' + PAIRS + b'Nu.',
    'deep key':
    b'\x80\x02}' + DEEP + b'Ns.',
    'in a set':
    b'\x80\x02cbuiltins\nset\n]' + PAIRS + b'a\x85R.',
    'in a dict':
    (b'\x80\x02ccollections\nOrderedDict\n]' + PAIRS + b'N\x86a\x85R.'),
    'storage': (b'\x80\x02(X\x07\x00\x00\x00storagectorch\nFloatStorage\n' +
                PAIRS + b'X\x03\x00\x00\x00cpuK\x01tQ.'),
    'lists':
    b'\x80\x02' + LISTS + b'.',
    'late lists':
    b'\x80\x02' + LATE + b'.',
}


class Call:
    """Pickles as a call of a function, made when the pickle is read."""

    def __init__(self, function, *args, state=None):
        self.reduced = function, args, state

    def __reduce__(self):
        return self.reduced


def zipped(pickled: bytes) -> bytes:
    """A file as PyTorch writes it today."""
    empty, file = io.BytesIO(), io.BytesIO()
    torch.save(None, empty)
    with zipfile.ZipFile(empty) as source, zipfile.ZipFile(file,
                                                           'w') as target:
        for name in source.namelist():
            target.writestr(
                name,
                pickled if name.endswith('data.pkl') else source.read(name))
    return file.getvalue()


def legacy(pickled: bytes) -> bytes:
    """A file as PyTorch wrote it before 1.6."""
    parts = [
        torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION,
        {}
    ]
    return b''.join(pickle.dumps(part, 2) for part in parts) + (
        pickled + pickle.dumps([], 2))


def hidden(pickled: bytes) -> bytes:
    """An old file with a sound new one behind it."""
    file = io.BytesIO(legacy(pickled))
    with zipfile.ZipFile(io.BytesIO(zipped(b'\x80\x02N.'))) as source:
        with zipfile.ZipFile(file, 'a') as target:
            for name in source.namelist():
                target.writestr(name, source.read(name))
    return file.getvalue()


@pytest.fixture
def in_seconds():
    """Raises in what takes longer."""

    def stop(*_):
        raise AssertionError('it takes more than 10 s')

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize('wrap', [zipped, legacy, hidden, bytes])
@pytest.mark.parametrize('name', BOMBS)
def test_small_pickles_do_not_take_for_ever(name, wrap, tmp_path, in_seconds):
    path = tmp_path / 'bomb.pth'
    path.write_bytes(wrap(BOMBS[name]))
    with pytest.raises(ValueError, match='bomb.pth is not a checkpoint, or'):
        pickles.load(str(path))


def repeated(number):
    """A tensor of some thousand bytes in a file."""
    return torch.ones(1).expand(number, 2)


def doubled():
    """A text whose length doubles with each call."""
    text = b'-'
    for _ in range(20):
        text = Call(codecs.encode, text, 'hex')
    return text


def copied():
    """A text that is copied, a thousand values each time."""
    text = 1000 * '-'
    return [Call(codecs.encode, text, 'latin1') for _ in range(1100)]


GREEDY = {
    'bytes': (Call(bytearray, 10), 'builtins.bytearray'),
    'tensor': (Call(torch.FloatTensor, 10), 'torch.FloatTensor'),
    'storage': (Call(torch.UntypedStorage,
                     10), 'torch.storage.UntypedStorage'),
    'conversion': (Call(torch._utils._rebuild_device_tensor_from_cpu_tensor,
                        repeated(10), torch.float64, 'cpu', False),
                   'torch._utils._rebuild_device_tensor_from_cpu_tensor'),
    'hidden call':
    (Call(torch._tensor._rebuild_from_type_v2, bytearray, bytearray, (10, ),
          None), 'torch._tensor._rebuild_from_type_v2'),
    'values': (Call(set, repeated(10)), None),
    'values of a storage': (Call(set,
                                 torch.ones(9).untyped_storage()), None),
    'pairs': (Call(OrderedDict, [(1, 2), repeated(2)]), None),
    'pairs of a state': (Call(OrderedDict, state=[repeated(2)]), None),
    'doubled': (doubled(), None),
    'copied': (copied(), None),
}


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('name', GREEDY)
def test_calls_that_can_take_any_memory(name, zipped, tmp_path):
    content, call = GREEDY[name]
    path = tmp_path / 'greedy.pth'
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError) as info:
        pickles.load(str(path))
    call = f' ({call})' if call else ''
    assert str(info.value) == (f'{path} is not a checkpoint, or has code in '
                               f'it{call}: give another one.')


def test_only_what_is_in_the_file_takes_memory(tmp_path):
    """A legacy file that claims 4 GB without having them."""
    tensor, file = torch.ones(7), io.BytesIO()
    torch.save(tensor, file, _use_new_zipfile_serialization=False)
    content = file.getvalue()
    assert content.count(b'K\x07') == 2  # of the storage and of the tensor
    path = tmp_path / 'large.pth'
    path.write_bytes(content)
    assert torch.equal(pickles.load(str(path)), tensor)
    # without values, and so without a key that names them
    start = content.rindex(b'\x80\x02]')
    path.write_bytes(content[:start].replace(b'K\x07', b'J\0\0\0\x40') +
                     b'\x80\x02].')
    with pytest.raises(ValueError, match='large.pth is not a checkpoint, or'):
        pickles.load(str(path))


def training_state():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3, 5, 5)).sum().backward()
    optimizer.step()
    return dict(
        meta=dict(epoch=1, classes=['a', 'b'], text='é' * 300),
        state_dict=model.state_dict(),
        optimizer=optimizer.state_dict(),
        message_hub=HistoryBuffer([1., 2.], [1, 1]).__reduce_ex__(2)[2],
        shared=[model[0].weight.detach()] * 3)


@pytest.mark.parametrize(
    'content', [
        training_state(),
        training_state()['state_dict'],
        dict(parameter=nn.Parameter(torch.ones(2)), half=torch.ones(2).half()),
        dict(view=torch.arange(6).view(2, 3).T, empty=torch.empty(0, 3)),
        {
            (1, 'pair'): torch.tensor(True),
            2: b'bytes',
            None: 1 << 70
        },
        [
            torch.Size([2]), torch.float16, {1, 2}, 1j, [[[[]]]],
            Counter('aab'),
            torch.device('cpu')
        ],
    ],
    ids=['training', 'weights', 'parameters', 'views', 'keys', 'others'])
@pytest.mark.parametrize('zipped', [True, False])
def test_what_is_sound_is_read(content, zipped, tmp_path):
    path = tmp_path / 'x.pth'
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert repr(pickles.load(str(path))) == repr(torch.load(path))


# Addresses


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Put a file on a server of this machine; return its address."""
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    folder = tmp_path / 'served'
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):

        def do_GET(self):
            put.requests += 1
            time.sleep(put.delay)
            super().do_GET()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(
        ('127.0.0.1', 0), functools.partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def put(content):
        torch.save(content, folder / 'x.pth')
        return f'http://127.0.0.1:{server.server_port}/x.pth'

    put.requests = put.delay = 0
    yield put
    server.shutdown()
    server.server_close()


def test_downloads_are_read(serve, tmp_path):
    url = serve({'a': torch.ones(2)})
    for _ in range(2):
        loaded = CheckpointLoader.load_checkpoint(url, 'cpu', logger='silent')
        assert torch.equal(loaded['a'], torch.ones(2))
        (tmp_path / 'served/x.pth').unlink(missing_ok=True)


def test_all_processes_of_a_machine_share_a_download(serve):
    url = serve({'a': torch.ones(2)})
    serve.delay = 0.5
    with ThreadPoolExecutor(4) as pool:
        loads = [
            pool.submit(pickles.load_url, url, progress=False)
            for _ in range(4)
        ]
    assert all(torch.equal(x.result()['a'], torch.ones(2)) for x in loads)
    assert serve.requests == 1


@pytest.mark.parametrize('local', [True, False])
def test_mmengine_runs_no_code_in_files(local, serve, tmp_path):
    mark = tmp_path / 'mark'
    path = serve({'a': Call(os.mkdir, str(mark))})
    if local:
        path = str(tmp_path / 'served/x.pth')
    with pytest.raises(ValueError, match='x.pth is not a checkpoint, or has '):
        CheckpointLoader.load_checkpoint(path, 'cpu', logger='silent')
    assert not mark.exists()
    torch.load(tmp_path / 'served/x.pth', weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize(
    'error', [
        urllib.error.URLError(
            socket.gaierror(socket.EAI_NONAME, 'Name or service not known')),
        urllib.error.URLError(
            socket.gaierror(socket.EAI_AGAIN,
                            'Temporary failure in name resolution')),
        urllib.error.URLError(
            OSError(errno.ENETUNREACH, 'Network is unreachable')),
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
        CheckpointLoader.load_checkpoint(
            'https://a.org/x.pth', 'cpu', logger='silent')
    reason = str(getattr(error, 'reason', error))
    assert str(info.value) == (
        f'the download of https://a.org/x.pth failed ({reason}): check the '
        'network, or give a file as load_from and model.backbone.pretrained.')
