"""Safe reading of files of torch.save from any source: no code in them runs,
and time and memory are bounded by the size of the file.
"""
import io
import os
import os.path as osp
import pickle
import pickletools
import zipfile
from collections.abc import Callable, Iterator
from http.client import HTTPException
from typing import Any, BinaryIO
from urllib.parse import urlparse

import torch
from torch import Tensor

from .files import check_archive_size

# Bounds on the content of a file, with repeated references written out. The
# values are those on top of one for each byte of the file: a checkpoint of a
# SELFYNet-R50 with Adam has 27,205, 10 deep.
_MAX_VALUES, _MAX_DEPTH = 10**6, 100
# Opcodes that add to an existing object; all others make a new one.
_ADDING = {'APPEND', 'APPENDS', 'SETITEM', 'SETITEMS', 'ADDITEMS', 'BUILD'}
_CALLING = {'REDUCE', 'NEWOBJ'}
# What a checkpoint calls. PyTorch also allows calls that take any amount of
# memory, such as bytearray(10**9).
_CONTAINERS = {
    'builtins.set', 'collections.Counter', 'collections.OrderedDict',
    'torch.Size'
}
_CALLS = _CONTAINERS | {
    '_codecs.encode', 'builtins.complex', 'torch.device',
    'torch._utils._rebuild_parameter',
    'torch._utils._rebuild_parameter_with_state',
    'torch._utils._rebuild_tensor', 'torch._utils._rebuild_tensor_v2',
    'torch._utils._rebuild_tensor_v3'
}
# Objects of these have no values of their own to go over.
_SHORT = {'_codecs.encode', 'numpy.dtype'}


class _RefusedCall(pickle.UnpicklingError):
    """With the name of what is called."""


class _Parts(list):
    """The parts of an object in a pickle.

    Args:
        parts (list): Its parts, which are such lists themselves.
        opcode (str): The name of the opcode that makes it.
        constant: The name, text or number that it is, if it is one.
    """

    def __init__(self, parts: list, opcode: str, constant: Any) -> None:
        super().__init__(parts)
        self.opcode, self.constant = opcode, constant

    @property
    def name(self) -> str:
        """Its full name, if it is a class or a function."""
        return str(self.constant or self.opcode).replace(' ', '.').replace(
            '__builtin__.', 'builtins.')

    @property
    def is_long(self) -> bool:
        """Whether going over it may take more memory than it has itself.

        It makes a tensor of each value of a tensor, also of those that an
        expanded one only repeats.
        """
        return self.opcode == 'BINPERSID' or (self.opcode in _CALLING
                                              and self[0].name not in _SHORT)


def check_file(path: str) -> None:
    """Raise unless a file is a complete file of torch.save.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is another kind of file, or incomplete.
    """
    if not osp.isfile(path):
        raise FileNotFoundError(f'checkpoint {path} does not exist.')
    with open(path, 'rb') as file:
        # PyTorch before 1.6 wrote pickles, later versions zip archives; an
        # archive ends with its directory.
        try:
            whole = (
                zipfile.is_zipfile(file)
                if _is_archive(path) else file.read(1) == b'\x80')
        except zipfile.BadZipFile:
            whole = False
    if not whole:
        raise ValueError(f'{path} is not a checkpoint, or was cut short when '
                         'it was written: give another one.')


def load(path: str, map_location: str | torch.device | Callable = 'cpu'):
    """Load a file, as torch.load does with ``weights_only=True``.

    Args:
        path (str): The file.
        map_location (str | torch.device | Callable): Where to put tensors.
            Defaults to 'cpu'.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is another kind of file, is damaged, contains code
            or takes more memory than its size.
    """
    check_file(path)
    try:
        for file in _pickles(path):
            _check_size(file, osp.getsize(path))
        content = torch.load(path, map_location, weights_only=True)
        _check_room(content, osp.getsize(path))
    # The exception depends on how the file is broken; PyTorch's own message
    # advises to disable the check.
    except Exception as error:
        call = f' ({error})' if isinstance(error, _RefusedCall) else ''
        raise ValueError(f'{path} is not a checkpoint, or has code in it'
                         f'{call}: give another one.') from error
    return content


def load_url(url: str,
             model_dir: str | None = None,
             map_location: str | torch.device | Callable = 'cpu',
             progress: bool = True):
    """Download a file, unless it is there already, and load it.

    Args:
        url (str): Its URL.
        model_dir (str, optional): Where to keep it. Defaults to the folder of
            torch.hub.
        map_location (str | torch.device | Callable): Where to put tensors.
            Defaults to 'cpu'.
        progress (bool): Whether to show a bar. Defaults to True.

    Raises:
        OSError: If it cannot be downloaded.
        ValueError: As :func:`load`.
    """
    folder = model_dir or osp.join(torch.hub.get_dir(), 'checkpoints')
    path = osp.join(folder, osp.basename(urlparse(url).path))
    if not osp.isfile(path):
        os.makedirs(folder, exist_ok=True)
        # PyTorch requires it, but imports it only to compile.
        from filelock import FileLock

        # One of the processes of a training downloads, the others wait.
        with FileLock(f'{path}.lock'):
            if not osp.isfile(path):
                _download(url, path, progress)
    return load(path, map_location)


def _download(url: str, path: str, progress: bool) -> None:
    try:
        torch.hub.download_url_to_file(url, path, progress=progress)
    # network or disk; broken connection; invalid URL
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, 'reason', error)
        raise OSError(
            f'the download of {url} failed ({reason}): check the network, or '
            'give a file as load_from and model.backbone.pretrained.'
        ) from error


def _is_archive(path: str) -> bool:
    """Whether torch.load takes a file for a zip archive.

    It looks at the beginning, other readers at the end: a pickle with an
    archive behind it is both.
    """
    with open(path, 'rb') as file:
        return file.read(4) == b'PK\x03\x04'


def _pickles(path: str) -> Iterator[BinaryIO]:
    """Yield a stream at the start of each pickle that torch.load reads."""
    if _is_archive(path):
        check_archive_size(path)
        # torch.load's own reader: another one may find another entry.
        reader = torch._C.PyTorchFileReader(str(path))
        yield io.BytesIO(reader.get_record('data.pkl'))
    else:
        with open(path, 'rb') as file:
            # magic number, version, byte order, content, keys of storages
            for _ in range(5):
                yield file


def _check_size(file: BinaryIO, size: int) -> None:
    """Raise unless the content of a pickle has a bounded size.

    A few bytes can put a tuple twice into a tuple, that one twice into
    another, and so on: hashing or traversing the last one never ends. This
    runs the pickle's opcodes as an unpickler does, with a list of parts in
    place of each object, and counts.

    Args:
        file (BinaryIO): A stream at the start of the pickle.
        size (int): The size of the whole file.
    """
    stack, marks, memo, calls = [], [], {}, []
    for opcode, arg, _ in pickletools.genops(file):
        name, before = opcode.name, opcode.stack_before
        if 'PUT' in name:
            memo[arg] = stack[-1]
        elif name == 'MEMOIZE':
            memo[len(memo)] = stack[-1]
        elif 'GET' in name:
            stack.append(memo[arg])
        elif name == 'MARK':
            marks.append(len(stack))
        elif name != 'STOP':
            start = len(stack) - len(before)
            if pickletools.markobject in before:
                start = marks.pop() - before.index(pickletools.markobject)
            if start < 0:
                raise pickle.UnpicklingError('More is taken than is there.')
            parts = stack[start:]
            del stack[start:]
            if name in _CALLING or name == 'BUILD':
                calls.append((name, *parts))
            if name in _ADDING:
                stack.append(parts[0])
                parts[0].extend(parts[1:])
            elif parts and not opcode.stack_after:
                raise pickle.UnpicklingError('Values are dropped.')
            else:
                stack.extend(
                    _Parts(parts, name, arg) for _ in opcode.stack_after)

    counts = {}
    total = sum(
        _count(parts, counts) for parts in (*stack, *memo.values())
        if id(parts) not in counts)
    if total > _MAX_VALUES + size:
        raise pickle.UnpicklingError(f'There are {total} values.')
    # After the count, which bounds the time of this.
    allowed = _CALLS | _registered()
    for call in calls:
        _check_call(*call, allowed)


def _check_call(opcode: str, called: _Parts, args: _Parts,
                allowed: set[str]) -> None:
    """Raise unless a call is allowed and takes no more memory than its
    arguments.
    """
    name = called.name if opcode in _CALLING else ''
    if name and name not in allowed:
        raise _RefusedCall(name)
    given = [args]
    # These go over their arguments and over pairs in them.
    if name in _CONTAINERS or not name and args.opcode != 'EMPTY_DICT':
        given += [*args, *(x for part in args for x in part)]
    if any(x.is_long for x in given):
        raise pickle.UnpicklingError('A call goes over a tensor.')
    # Other encodings lengthen what they get, and can be repeated.
    if name == '_codecs.encode' and [x.constant
                                     for x in args[1:]] != ['latin1']:
        raise pickle.UnpicklingError('A text has another encoding.')


def _registered() -> set[str]:
    """What torch.serialization.add_safe_globals got from others."""
    names = {
        x[1] if isinstance(x, tuple) else f'{x.__module__}.{x.__qualname__}'
        for x in torch.serialization.get_safe_globals()
    }
    return {name for name in names if not name.startswith('torch.')}


def _count(parts: _Parts,
           counts: dict[int, tuple[int, int]],
           level: int = 0) -> int:
    """The number of values of an object, itself included, and of letters.

    Args:
        parts (_Parts): Its parts, which are such lists themselves.
        counts (dict[int, tuple[int, int]]): The number of values and the
            depth of objects counted so far, by their id.
        level (int): How deep it is nested. Defaults to 0.
    """
    # An object that contains itself never ends, either.
    if level > _MAX_DEPTH:
        raise pickle.UnpicklingError('Values are nested too deeply.')
    if id(parts) not in counts:
        number = 1 + sum(_count(part, counts, level + 1) for part in parts)
        if isinstance(parts.constant, (str, bytes)):
            number += len(parts.constant)
        depth = 1 + max((counts[id(part)][1] for part in parts), default=0)
        counts[id(parts)] = number, depth
    number, depth = counts[id(parts)]
    if level + depth > _MAX_DEPTH:
        raise pickle.UnpicklingError('Values are nested too deeply.')
    return number


def _check_room(content: Any, size: int) -> None:
    """Raise if the tensors take more memory than the file has bytes.

    The older format stores a tensor's size apart from its values.
    """
    storages = {
        tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes()
        for tensor in _tensors(content) if tensor.layout == torch.strided
    }
    if sum(storages.values()) > size:
        raise pickle.UnpicklingError('Tensors are larger than the file.')


def _tensors(content: Any) -> Iterator[Tensor]:
    if isinstance(content, Tensor):
        yield content
    elif isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, (list, tuple)):
        for value in content:
            yield from _tensors(value)
