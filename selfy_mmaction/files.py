"""Files and paths: atomic writes, names and folders."""

import contextlib
import glob
import os
import os.path as osp
import secrets
import shutil
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

# Seconds without a change after which a file counts as abandoned.
_STALE = 3600
# Bytes of a name, of which file systems allow 255, in that of its temporary
# file.
_STEM = 200


@contextlib.contextmanager
def replaced_when_done(path: str | os.PathLike) -> Iterator[Path]:
    """Yield the name of a temporary file that replaces ``path`` on success.

    After a full disk or a kill, the previous file is intact; the new one has
    its permissions. Each writer has its own hidden file, with the suffix of
    ``path``, in the same folder, which is created if it is missing.

    Args:
        path (str | os.PathLike): The file to write. Anything but a regular
            file, such as /dev/null, is written to directly.

    Raises:
        ValueError: If a folder has this name, or the name is not UTF-8.
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
        f'.{_stem(target)}.{secrets.token_hex(4)}{target.suffix}')
    _remove_stale(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        # Otherwise a power loss may leave the new name without its data.
        with open(unfinished, 'r+b') as file:  # Windows syncs no other
            os.fsync(file)
        if target.exists():
            shutil.copymode(target, unfinished)
        os.replace(unfinished, target)
    except OSError as error:
        # About another file, or with a message already.
        if error.errno is None or error.filename not in (
                None,
                str(unfinished),
                str(target.parent),
        ):
            raise
        raise OSError(f'could not write {path}: {error.strerror}.') from error
    finally:
        unfinished.unlink(missing_ok=True)


def _stem(path: Path) -> str:
    """The name without its suffix, short enough to add to it."""
    return os.fsencode(path.stem)[:_STEM].decode(errors='ignore')


def _remove_stale(target: Path) -> None:
    """Remove temporary files of the same name that killed processes left."""
    pattern = f'.{glob.escape(_stem(target))}.{"[0-9a-f]" * 8}{target.suffix}'
    for path in target.parent.glob(pattern):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _STALE:
                path.unlink()


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Write a file, see `replaced_when_done`.

    For the output of libraries that do not report a full disk clearly.
    """
    with replaced_when_done(path) as unfinished:
        unfinished.write_bytes(content)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file in UTF-8, see `replaced_when_done`."""
    with replaced_when_done(path) as unfinished:
        unfinished.write_text(text, encoding='utf-8', newline='')


def printable(name: str) -> str:
    """A name that is safe to print on a terminal.

    Control characters in names of files and classes could move the cursor or
    forge lines: they are escaped as in a Python string, and so are bytes that
    are not UTF-8.
    """
    return ''.join(x if x.isprintable() else repr(x)[1:-1] for x in name)


def is_utf8(path: str | os.PathLike) -> bool:
    """Whether a name is UTF-8; OpenCV crashes on others."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def is_inside(name: str, folder: str | os.PathLike) -> bool:
    """Whether a path relative to a folder stays inside it, links aside."""
    path = osp.abspath(osp.join(folder, name.replace('\\', '/')))
    return Path(path).is_relative_to(osp.abspath(folder))


def check_archive_size(path: str | os.PathLike) -> None:
    """Raise a ValueError if a zip archive unpacks to more than its own size.

    Neither PyTorch nor NumPy compresses its files.
    """
    with zipfile.ZipFile(path) as file:
        entries = file.infolist()
    if sum(entry.file_size for entry in entries) > osp.getsize(path):
        raise ValueError('it is compressed')
    # Where something stands before the entries or their directory, another
    # reader may look for the directory elsewhere and find other sizes.
    if entries and min(entry.header_offset for entry in entries):
        raise ValueError('it has two parts')
