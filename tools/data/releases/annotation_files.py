"""Reading annotations: found by name, checked line by line."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from .release import SPLITS, Annotation, Findings


def find_annotation(root: Path, *patterns: str) -> Path:
    """Find a file of annotations by its names; the newest version wins."""
    for pattern in patterns:
        for folder in (root / 'annotations', root):
            found = sorted(folder.glob(pattern))
            if found:
                return found[-1]
    raise FileNotFoundError(
        f'{" or ".join(patterns)} is neither in {root}/annotations nor in '
        f'{root}: put the annotations of the release there.')


def find_optional(consequence: str, findings: Findings, root: Path, *patterns:
                  str) -> Path | None:
    """Find a file of annotations, or warn of the consequence if absent."""
    try:
        return find_annotation(root, *patterns)
    except FileNotFoundError as error:
        findings.add(f'{consequence}: {error}', is_error=False)
        return None


def read_text(path: Path) -> str:
    """Read a text file."""
    try:
        return path.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(
            f'{path} is not a text file in UTF-8: download it again.'
        ) from error


def read_json(path: Path, kind: type) -> list | dict:
    """Read a JSON file that holds a list or a dict."""
    text = read_text(path)
    try:
        content = json.loads(text)
    except (RecursionError, ValueError) as error:
        raise ValueError(
            f'{path} is not valid JSON ({error}): download it again.'
        ) from error
    if not isinstance(content, kind):
        raise ValueError(f'{path} holds a {type(content).__name__} instead '
                         f'of a {kind.__name__}: download it again.')
    return content


def read_items(path: Path, keys: Sequence[str]) -> Iterator[dict]:
    """Read a JSON list of objects with given keys."""
    for i, item in enumerate(read_json(path, list)):
        missing = [
            key for key in keys if not (isinstance(item, dict) and key in item)
        ]
        if missing:
            raise ValueError(f'{path}: item {i} has no {missing[0]!r}: is it '
                             'the file of another release?')
        yield item


def read_columns(
    path: Path,
    number: int,
    delimiter: str | None = None,
) -> Iterator[list[str]]:
    """Read the lines of a text file with a given number of columns."""
    for i, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        columns = line.strip().split(delimiter)
        if len(columns) != number:
            raise ValueError(f'{path}: line {i} has {len(columns)} columns '
                             f'instead of {number}: {line.strip()!r}.')
        yield columns


def to_int(text: object, place: str) -> int:
    """Read a whole number, from JSON or from text."""
    try:
        if re.fullmatch(r'-?\d+', str(text)):
            return int(text)
    except ValueError:  # thousands of digits
        pass
    raise ValueError(f'{place}: {text!r} is not a whole number.')


def read_official(paths: Sequence[str], classes: Sequence[str],
                  keep_paths: bool) -> dict[str, list[Annotation]]:
    """Read lists of the official code: ``/path frames label`` per line.

    Their labels are in alphabetical order of the classes. Unless the media are
    where the lists say, only the last part of a path is kept.
    """
    alphabetical, clips = sorted(classes), {}
    for split, path in zip(SPLITS, map(Path, paths), strict=True):
        if not path.is_file():
            raise FileNotFoundError(f'list {path} does not exist.')
        clips[split] = []
        for name, frames, label in read_columns(path, 3):
            label = to_int(label, f'{path}: {name}')
            if 0 <= label < len(classes):
                label = alphabetical[label]
            clips[split].append(
                Annotation(
                    name if keep_paths else PurePosixPath(name).name,
                    label,
                    to_int(frames, f'{path}: {name}'),
                ))
    return clips
