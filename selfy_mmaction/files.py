"""Files and paths: written whole or not at all, inside of a folder or not."""

import contextlib
import glob
import os
import os.path as osp
import secrets
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

# Seconds without a change after which nobody is taken to write to a file.
_STALE = 3600


@contextlib.contextmanager
def replaced_when_done(path: str | os.PathLike) -> Iterator[Path]:
    """Yield the name of a file that replaces ``path`` if all goes well.

    A full disk or a killed process leaves what was there before. Each writer
    has a hidden file of its own, with the ending of ``path``, in the same
    folder, which is made if it is missing.

    Args:
        path (str | os.PathLike): The file to write. What is not a regular
            file, such as /dev/null, is written to directly.

    Raises:
        ValueError: If there is a folder of this name, or the name is not
            UTF-8.
        OSError: If the file cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f'{path} is a folder: give the name of a file.')
    if not is_utf8(path):
        raise ValueError(f'{path} is not a name in UTF-8: give another.')
    if path.exists() and not path.is_file():
        yield path
        return
    target = path.resolve()  # a link stays a link
    unfinished = target.with_name(
        f'.{target.stem}.{secrets.token_hex(4)}{target.suffix}')
    _remove_stale(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        # Else a machine that loses power may have the name first.
        with open(unfinished, 'rb') as file:
            os.fsync(file)
        os.replace(unfinished, target)
    except OSError as error:
        # Of another file, or with a message already.
        if error.errno is None or error.filename not in (
                None,
                str(unfinished),
                str(target.parent),
        ):
            raise
        raise OSError(f'could not write {path}: {error.strerror}.') from error
    finally:
        unfinished.unlink(missing_ok=True)


def _remove_stale(target: Path) -> None:
    """Remove what processes that were killed left of the same file."""
    pattern = f'.{glob.escape(target.stem)}.{"[0-9a-f]" * 8}{target.suffix}'
    for path in target.parent.glob(pattern):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _STALE:
                path.unlink()


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Write a file, see `replaced_when_done`.

    For what is made by libraries that do not report a full disk, or in words
    of their own.
    """
    with replaced_when_done(path) as unfinished:
        unfinished.write_bytes(content)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file in UTF-8, see `replaced_when_done`."""
    with replaced_when_done(path) as unfinished:
        unfinished.write_text(text, encoding='utf-8', newline='')


def printable(name: str) -> str:
    """A name as a terminal can show it.

    Control characters in names of files and classes could move its cursor or
    forge lines: they come as in a Python string, and so do bytes that are not
    UTF-8.
    """
    return ''.join(x if x.isprintable() else repr(x)[1:-1] for x in name)


def is_utf8(path: str | os.PathLike) -> bool:
    """Whether a name is; OpenCV crashes of others."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def is_inside(name: str, folder: str | os.PathLike) -> bool:
    """Whether a path that is relative to a folder stays in it, links aside."""
    path, folder = (
        osp.abspath(x)
        for x in (osp.join(folder, name.replace('\\', '/')), folder))
    return osp.commonpath([path, folder]) == folder


def check_archive_size(path: str | os.PathLike) -> None:
    """Raise a ValueError if a zip archive holds more than its own size.

    Neither PyTorch nor NumPy compresses what it saves.
    """
    with zipfile.ZipFile(path) as file:
        size = sum(entry.file_size for entry in file.infolist())
    if size > osp.getsize(path):
        raise ValueError('it is compressed')
