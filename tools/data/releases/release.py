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
    """What is known about a release.

    Args:
        lists (dict[str, Sequence[str]]): For each split the names that its
            list of clips may have, with ``*`` for any text and ``{version}``
            for the version.
        read (Callable): Yields the clips of a list.
        counts (dict[str, int]): Published number of clips of each split.
        check (Callable, optional): Compares the clips of each split with what
            else is in the release, given its folder, its classes, its version
            and the findings.
        exact (Sequence[str]): The splits whose number is certain.
        storage (str): The form it is shipped in, 'videos' or 'rawframes'.
        folders (dict[str, str]): The folder of each storage, per split if
            the name contains ``{split}``.
        frame_name (str): Template of the names of frames, counted from 1.
        versions (dict[str, dict]): The ``counts`` of its versions, the
            default first, if there are several.
        vanishes (bool): Whether clips are missing from every copy.
        official_lists (bool): Whether the lists of the official code, with
            labels in alphabetical order, are of this release.
        class_file (str, optional): The file of class names in
            configs/_base_/datasets, in the order of the labels.
        read_classes (Callable, optional): Reads them from the release
            instead, given its folder and the findings.
    """

    lists: dict
    read: Callable
    counts: dict = {}
    check: Callable | None = None
    exact: Sequence = ()
    storage: str = 'videos'
    folders: dict = dict(videos='videos', rawframes='rawframes')
    frame_name: str = 'img_{:05}.jpg'
    versions: dict = {}
    vanishes: bool = False
    official_lists: bool = False
    class_file: str | None = None
    read_classes: Callable | None = None


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file, unless it has the same content already."""
    text = ''.join(f'{line}\n' for line in lines)
    if not path.is_file() or path.read_bytes() != text.encode():
        write_text(path, text)
