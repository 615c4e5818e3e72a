"""A release: its clips, what is known about it, what is wrong with it."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from selfy_mmaction.files import write_text

SPLITS = ('train', 'val')


class Annotation(NamedTuple):
    """A line of a release's annotations: one clip.

    ``label`` is a number, or a class name if the release gives a name.
    ``name`` has no suffix. ``num_frames`` is the number in the annotation.
    """

    name: str
    label: int | str
    num_frames: int | None = None


class Findings:
    """What is wrong with a release, without duplicates.

    Errors mean lost clips or labels; warnings are what a user should know.
    """

    def __init__(self):
        self.errors = {}
        self.warnings = {}

    def add(self, message: str, is_error: bool = True) -> None:
        """Add an error or a warning."""
        (self.errors if is_error else self.warnings)[message] = None

    def write(self, path: Path) -> None:
        """Write them to a file, if there are any."""
        if self.lines():
            write_lines(path, self.lines())
        else:
            path.unlink(missing_ok=True)

    def lines(self) -> list[str]:
        """All of them, errors first."""
        return [
            *(f'error: {message}' for message in self.errors),
            *(f'warning: {message}' for message in self.warnings),
        ]


class Release(NamedTuple):
    """What is known about a release."""

    # Split -> the names that its list of clips may have, with * for any text
    # and {version} for the version
    lists: dict
    # Yields the clips of a list
    read: Callable
    # Split -> published number of clips
    counts: dict = {}
    # Compares the clips of each split with what else is in the release, given
    # its folder, its classes, its version and the findings
    check: Callable | None = None
    # The splits whose number is certain
    exact: Sequence = ()
    # The form it is shipped in, 'videos' or 'rawframes'
    storage: str = 'videos'
    # Storage -> its folder, per split if the name contains {split}
    folders: dict = dict(videos='videos', rawframes='rawframes')
    # Names of frames, counted from 1
    frame_name: str = 'img_{:05}.jpg'
    # Version -> its counts, the default version first
    versions: dict = {}
    # Whether clips are missing from every copy
    vanishes: bool = False
    # Whether the lists of the official code, with labels in alphabetical
    # order, are of this release
    official_lists: bool = False
    # The file of class names in configs/_base_/datasets, in their order, or
    # what reads them from the folder of the release, given the findings
    class_file: str | None = None
    read_classes: Callable | None = None


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file, unless it has the same content already."""
    text = ''.join(f'{line}\n' for line in lines)
    if not path.is_file() or path.read_bytes() != text.encode():
        write_text(path, text)
