"""A table of clips: a csv with the columns clip, label, group, split."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from .splitting import Clip

COLUMNS = ('clip', 'label', 'group', 'split')
# Names under which people keep what must stay on one side of a split.
_LIKE_GROUP = ('subject', 'person', 'people', 'speaker', 'actor', 'recording',
               'session', 'video', 'video_id', 'youtube_id')


def read_table(path: Path) -> tuple[list[Clip], list[str]]:
    """Read a csv with the columns clip, label, and maybe group, split.

    Commas or semicolons separate the columns; a path may have backslashes.

    Returns:
        tuple[list[Clip], list[str]]: The clips, and a line about each column
        that is not used.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not such a table.
    """
    if not path.is_file():
        raise FileNotFoundError(f'--csv {path} does not exist.')
    try:
        # Spreadsheet programs write a byte-order mark.
        text = path.read_text(encoding='utf-8-sig')
        first = text.partition('\n')[0]
        delimiter = ';' if ';' in first and ',' not in first else ','
        rows = csv.DictReader(
            io.StringIO(text, newline=''), delimiter=delimiter)
        clips = [_to_clip(row) for row in rows]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f'{path} is not a csv in UTF-8 ({error}): save it '
                         'as one.') from error
    names = [*filter(None, rows.fieldnames or ())]
    missing = {'clip', 'label'} - set(names)
    if missing:
        raise ValueError(f'{path} has no column {min(missing)!r}: its first '
                         'line should be `clip,label` or `clip,label,group`.')
    return clips, [*_unused(names)]


def _to_clip(row: dict) -> Clip:
    name, label, group, split = ((row.get(key) or '').strip()
                                 for key in COLUMNS)
    # as Windows writes it
    name = name.replace('\\', '/')
    # A clip without a group is its own group.
    return Clip(name, label, group or name, split)


def _unused(names: Sequence[str]):
    for name in names:
        if name not in COLUMNS:
            ask = 'group' not in names and name.lower() in _LIKE_GROUP
            yield f'column {name!r} of the table is not used' + (
                ': if its clips must stay on one side of the split, call it '
                'group' if ask else '')
