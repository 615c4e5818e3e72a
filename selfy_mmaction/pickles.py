"""Reading what torch.save wrote, whoever wrote it: no code in it is run, and
the time and the memory that it takes are bounded by the size of the file.
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

# Bounds of what a file holds, with all that it names twice written out.
# A checkpoint of a SELFYNet-R50 with Adam has 27,205 values, 10 deep.
_MAX_VALUES, _MAX_DEPTH = 10**7, 100
# What adds to an object that is there; all else makes a new one.
_ADDING = {'APPEND', 'APPENDS', 'SETITEM', 'SETITEMS', 'ADDITEMS', 'BUILD'}


def check_file(path: str) -> None:
    """Raise unless torch.save wrote a file, to its end.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is another kind of file, or a part of one.
    """
    if not osp.isfile(path):
        raise FileNotFoundError(f'checkpoint {path} does not exist.')
    with open(path, 'rb') as file:
        # PyTorch before 1.6 wrote pickles, later versions zip archives; the
        # directory of an archive is its end.
        try:
            whole = file.read(1) == b'\x80' or zipfile.is_zipfile(file)
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
        ValueError: If it is another kind of file, is damaged, has code in it
            or holds more than it has room for.
    """
    check_file(path)
    try:
        for file in _pickles(path):
            _check_size(file)
        content = torch.load(path, map_location, weights_only=True)
        _check_room(content, osp.getsize(path))
    # What is raised depends on how a file is broken; PyTorch's own message
    # advises to switch its check off.
    except Exception as error:
        raise ValueError(f'{path} is not a checkpoint, or has code in it: '
                         'give another one.') from error
    return content


def load_url(url: str,
             model_dir: str | None = None,
             map_location: str | torch.device | Callable = 'cpu',
             progress: bool = True):
    """Load a file that is downloaded unless it has been already.

    Args:
        url (str): Its address.
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
        try:
            torch.hub.download_url_to_file(url, path, progress=progress)
        # of the network or the disk; of a connection that broke; of an
        # address that is none
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, 'reason', error)
            raise OSError(
                f'the download of {url} failed ({reason}): check the network, '
                'or give a file as load_from and model.backbone.pretrained.'
            ) from error
    return load(path, map_location)


def _pickles(path: str) -> Iterator[BinaryIO]:
    """Yield each pickle that torch.load will read, where it begins."""
    if zipfile.is_zipfile(path):
        check_archive_size(path)
        # The reader of torch.load: another may find another entry.
        reader = torch._C.PyTorchFileReader(str(path))
        yield io.BytesIO(reader.get_record('data.pkl'))
    else:
        with open(path, 'rb') as file:
            # magic number, version, byte order, content, keys of storages
            for _ in range(5):
                yield file


def _check_size(file: BinaryIO) -> None:
    """Raise unless the content of a pickle is of a bounded size.

    A few bytes can name a tuple twice in a tuple, that one twice in another,
    and so on: to hash the last one, or to walk through it, takes for ever.
    This follows the pickle's commands as an unpickler does, with the list of
    its parts for each object, and counts.
    """
    stack, marks, memo = [], [], {}
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
            if name in _ADDING:
                stack.append(parts[0])
                parts[0].extend(parts[1:])
            else:
                stack.extend(parts[:] for _ in opcode.stack_after)

    counts = {}
    total = sum(_count(parts, counts) for parts in (*stack, *memo.values())
                if id(parts) not in counts)
    if total > _MAX_VALUES:
        raise pickle.UnpicklingError(f'There are {total} values.')


def _count(parts: list, counts: dict[int, tuple[int, int]],
           level: int = 0) -> int:
    """How many values an object has, itself included.

    Args:
        parts (list): Its parts, which are such lists themselves.
        counts (dict[int, tuple[int, int]]): The number of values and the
            depth of objects that have been counted, by their id.
        level (int): How deep in another object it is. Defaults to 0.
    """
    # An object in itself never ends, either.
    if level > _MAX_DEPTH:
        raise pickle.UnpicklingError('Values are nested too deeply.')
    if id(parts) not in counts:
        number = 1 + sum(_count(part, counts, level + 1) for part in parts)
        depth = 1 + max((counts[id(part)][1] for part in parts), default=0)
        counts[id(parts)] = number, depth
    number, depth = counts[id(parts)]
    if level + depth > _MAX_DEPTH:
        raise pickle.UnpicklingError('Values are nested too deeply.')
    return number


def _check_room(content: Any, size: int) -> None:
    """Raise if tensors have more memory than a file has bytes.

    The older format tells the size of a tensor apart from its values.
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
