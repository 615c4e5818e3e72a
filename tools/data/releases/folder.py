"""Your own videos: a folder of clips per class, or a table of clips."""

import csv
import io
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from selfy_mmaction.containers import find_videos
from selfy_mmaction.files import is_inside, write_text

from .files_of_release import check_media
from .release import Findings
from .splitting import Clip, Content, find_twins, hold_out, look

# Classes with fewer clips, and clips with fewer frames, get a warning.
FEW_CLIPS = 5
FEW_FRAMES = 8
# The parts of a split, and what their clips are called.
_PARTS = dict(train='training', val='validation', test='test')
_SPLIT_NAMES = {'train', 'training', 'val', 'valid', 'validation', 'test'}
_LIST = 'folder_{}_list_videos.txt'
# A horizontal flip changes these; vertical directions stay.
_DIRECTION = re.compile(
    r'(?<![a-z])(left|right)(wards?)?(?![a-z])|clockwise|(?<![a-z])c?cw\b')
# Characters that a line of a list cannot contain.
_UNLISTABLE = re.compile(r'^\s|[\t\r\n\ud800-\udfff]')


class FolderPreparation:
    """Writes the lists of a folder of videos.

    The clips are in a folder per class, at any depth, or where a csv says.

    Args:
        root (str): The folder of the data.
        table (str, optional): A csv with the columns ``clip``, a path below
            ``root``, and ``label``, the name of its class. With a column
            ``group``, the clips of a group go to the same split. A column
            ``split`` is the split: train, val or test.
        val_share (float): The share of each class for validation.
        seed (int): Seed of the random split.
        workers (int): How many processes check the clips.
        timeout (float): Seconds per clip, after which it is bad.

    Raises:
        OSError: If there is no such folder or table.
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        root: str,
        table: str | None = None,
        val_share: float = 0.2,
        seed: int = 0,
        workers: int = 1,
        timeout: float = 120,
    ):
        self.root = Path(root)
        if not self.root.is_dir():
            raise FileNotFoundError(f'folder {root} does not exist: make it, '
                                    'with a folder of clips for each class.')
        if not 0 < val_share < 1:
            raise ValueError(f'--val-share {val_share:g}: give a number '
                             'between 0 and 1.')
        if workers < 1:
            raise ValueError(f'workers={workers}: give 1 or more.')
        if timeout <= 0:
            raise ValueError(f'--timeout {timeout:g}: give more than 0.')
        self.table_file = Path(table) if table else None
        self.val_share, self.seed = val_share, seed
        self.workers, self.timeout = workers, timeout
        self.findings = Findings()
        # split -> column of the summary -> number
        self.summary = {}

    @property
    def problems_file(self) -> Path:
        """The file that the findings are written to."""
        return self.root / 'folder_problems.txt'

    def run(self) -> bool:
        """Check the clips and write their lists.

        Returns:
            bool: Whether no error was found. Sound clips are listed anyway.

        Raises:
            OSError: If there are no clips, or no table.
            ValueError: If there are fewer than two classes.
        """
        clips = self._select(self._read())
        self._check_classes({clip.label for clip in clips})
        contents = self._look(clips)
        clips = [clip for clip in clips if clip.path in contents]
        classes = sorted({clip.label for clip in clips})
        splits = self._split(clips)
        self._report(splits, classes, contents)
        if all(splits.values()) and len(splits) > 1 and len(classes) > 1:
            self._write(splits, classes)
        else:
            self.findings.add('too few clips can be read for training and '
                              'validation or test; no lists are written')
        lines = self.findings.lines()
        if lines:
            write_text(self.problems_file, '\n'.join([*lines, '']))
        else:
            self.problems_file.unlink(missing_ok=True)
        return not self.findings.errors

    def _read(self) -> list[Clip]:
        if self.table_file:
            return read_table(self.table_file)
        clips = []
        for path in find_videos(str(self.root)):
            path = Path(path).relative_to(self.root)
            label = path.parts[0] if len(path.parts) > 1 else ''
            clips.append(Clip(path.as_posix(), label, path.as_posix()))
        empty = {
            path.name
            for path in self.root.iterdir()
            if path.is_dir() and not path.name.startswith('.')
        } - {clip.label
             for clip in clips}
        self._warn('folders without a video, which are not classes', empty)
        return clips

    def _select(self, clips: Sequence[Clip]) -> list[Clip]:
        """The clips that can be listed, each once, in order of their paths."""
        selected = {}
        is_split = any(clip.split for clip in clips)
        for clip in sorted(clips):
            if not clip.label:
                self.findings.add(f'{clip.path!r} has no class')
            elif _UNLISTABLE.search(clip.path + clip.label):
                self.findings.add(
                    f'{clip.path!r}, {clip.label!r}: a list cannot contain a '
                    'tab or a line break, nor start with a space: rename it')
            elif not is_inside(clip.path, self.root):
                self.findings.add(f'{clip.path!r} leads out of {self.root}')
            elif not (self.root / clip.path).is_file():
                self.findings.add(f'{clip.path} does not exist')
            elif is_split and clip.split not in _PARTS:
                self.findings.add(f'{clip.path} has the split {clip.split!r}: '
                                  f'give {", ".join(_PARTS)} for every clip')
            elif clip.path in selected:
                self.findings.add(f'{clip.path} is listed twice, as '
                                  f'{selected[clip.path].label} and as '
                                  f'{clip.label}; the first is used')
            else:
                selected[clip.path] = clip
        return [*selected.values()]

    def _check_classes(self, classes: set[str]) -> None:
        if len(classes) < 2:
            raise ValueError(
                f'{self.table_file or self.root} has clips of {len(classes)} '
                f'classes: give two or more, each with a folder of its own '
                f'in {self.root}, or name them in a --csv.')
        are_splits = {name.lower() for name in classes} <= _SPLIT_NAMES
        if are_splits and not self.table_file:
            raise ValueError(
                f'the folders in {self.root} are splits, not classes: '
                f'{_name_some(classes)}. Put the folders of the classes '
                'there; the split is drawn.')

    def _look(self, clips: Sequence[Clip]) -> dict[str, Content]:
        """The contents of the clips that can be read."""
        looked = check_media(look,
                             [str(self.root / clip.path) for clip in clips],
                             self.workers, self.timeout)
        contents = {}
        for clip, content in zip(clips, looked, strict=True):
            if isinstance(content, str):
                self.findings.add(f'{clip.path} {content}')
            else:
                contents[clip.path] = content
        return contents

    def _split(self, clips: Sequence[Clip]) -> dict[str, list[Clip]]:
        """The clips of each part: those of the table, or drawn."""
        if not any(clip.split for clip in clips):
            held = hold_out(clips, self.val_share, random.Random(self.seed))
            clips = [
                clip._replace(split='val' if clip.group in held else 'train')
                for clip in clips
            ]
            parts = ['train', 'val']
        else:
            parts = [
                part for part in _PARTS
                if part in {'train', *(clip.split for clip in clips)}
            ]
        return {
            part: [clip for clip in clips if clip.split == part]
            for part in parts
        }

    def _report(
        self,
        splits: Mapping[str, Sequence[Clip]],
        classes: Sequence[str],
        contents: Mapping[str, Content],
    ) -> None:
        """Warn of what may harm training, and of what the user decides."""
        counts = {
            split: Counter(clip.label for clip in of_split)
            for split, of_split in splits.items()
        }
        total = sum(counts.values(), Counter())
        self.summary = {
            split: dict(clips=len(splits[split]), classes=len(counts[split]))
            for split in splits
        }
        self._warn(f'classes with fewer than {FEW_CLIPS} clips',
                   [name for name in classes if total[name] < FEW_CLIPS])
        self._warn(
            f'clips with fewer than {FEW_FRAMES} frames, some of which the '
            'network sees twice', [
                path for path, content in contents.items()
                if content.frames < FEW_FRAMES
            ])
        self._warn('groups on two sides of the split', _shared_groups(splits))
        for part in [*splits][1:]:
            clips, kind = splits[part], _PARTS[part]
            self._warn(
                f'classes without a {kind} clip, since they have one clip or '
                'one group, or by the split of the table',
                [name for name in classes if name not in counts[part]])
            twins = find_twins(splits['train'], clips, contents)
            self._warn(
                f'{len(twins)} of {len(clips)} {kind} clips look like a '
                'training clip, so that they say little; if they are cuts of '
                'one recording, give it as the group in a --csv',
                [f'{a} and {b}' for a, b in twins])
        self._warn(
            'classes that a flip may turn into others: training flips them '
            'unless frozen_classes of the config names them',
            [repr(name) for name in classes if is_directional(name)])

    def _warn(self, message: str, names: Iterable[str]) -> None:
        """Add a warning about some clips or classes, if there are any."""
        if names:
            self.findings.add(
                f'{message}: {_name_some(names)}', is_error=False)

    def _write(self, splits: Mapping[str, Sequence[Clip]],
               classes: Sequence[str]) -> None:
        numbers = {name: i for i, name in enumerate(classes)}
        lists = {'classes.txt': classes}
        for split, of_split in splits.items():
            # A tab, since folder names may have spaces.
            lists[_LIST.format(split)] = [
                f'{clip.path}\t{numbers[clip.label]}' for clip in of_split
            ]
        for part in _PARTS.keys() - splits:
            # of an earlier run
            (self.root / _LIST.format(part)).unlink(missing_ok=True)
        for name, lines in lists.items():
            write_text(self.root / name, '\n'.join([*lines, '']))

    def table(self) -> str:
        """The summary, a split per row."""
        rows = [f'{"":6}{"clips":>12}{"classes":>12}']
        rows += [
            f'{split:6}{numbers["clips"]:>12}{numbers["classes"]:>12}'
            for split, numbers in self.summary.items()
        ]
        return '\n'.join(rows)


def read_table(path: Path) -> list[Clip]:
    """Read a csv with the columns clip, label, and maybe group, split.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not such a table.
    """
    if not path.is_file():
        raise FileNotFoundError(f'--csv {path} does not exist.')
    try:
        # Spreadsheet programs write a byte-order mark.
        text = path.read_text(encoding='utf-8-sig')
        rows = csv.DictReader(io.StringIO(text, newline=''))
        clips = []
        for row in rows:
            path, label, group, split = ((row.get(key) or '').strip()
                                         for key in ('clip', 'label', 'group',
                                                     'split'))
            # A clip without a group is its own group.
            clips.append(Clip(path, label, group or path, split))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f'{path} is not a csv in UTF-8 ({error}): save it '
                         'as one.') from error
    missing = {'clip', 'label'} - set(rows.fieldnames or ())
    if missing:
        raise ValueError(f'{path} has no column {min(missing)!r}: its first '
                         'line should be `clip,label` or `clip,label,group`, '
                         'with commas.')
    return clips


def _shared_groups(splits: Mapping[str, Sequence[Clip]]) -> set[str]:
    """The groups with clips in more than one part."""
    parts = Counter(group for clips in splits.values()
                    for group in {clip.group
                                  for clip in clips})
    return {group for group, number in parts.items() if number > 1}


def is_directional(name: str) -> bool:
    """Whether a horizontal flip may change a class, by its name."""
    # turnLeft => turn Left
    words = re.sub(r'(?<=[a-z])(?=[A-Z])', ' ', name)
    return bool(_DIRECTION.search(words.lower()))


def _name_some(names: Iterable[str], limit: int = 5) -> str:
    """A few names, and how many more there are."""
    names = sorted(names)
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(names[:limit]) + more
