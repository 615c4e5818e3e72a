"""Your own videos: a folder of clips per class, or a table of clips."""

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from selfy_mmaction.datasets.lists import find_videos
from selfy_mmaction.evaluation.tables import format_columns
from selfy_mmaction.files import is_inside

from .clip_table import read_table
from .files_of_release import check_media
from .release import Findings, write_lines
from .splitting import Clip, Content, find_twins, hold_out, read_content

# Classes with fewer clips, and clips with fewer frames, get a warning.
FEW_CLIPS = 5
FEW_FRAMES = 8
# More are not printed one by one.
MANY_CLASSES = 30
# The parts of a split, and what their clips are called.
_PARTS = dict(train='training', val='validation', test='test')
_SPLIT_NAMES = {'train', 'training', 'val', 'valid', 'validation', 'test'}
_LIST = 'folder_{}_list_videos.txt'
# A horizontal flip changes these; vertical directions stay.
_DIRECTION = re.compile(
    r'(?<![a-z])(left|right)(wards?)?(?![a-z])|clockwise|(?<![a-z])c?cw\b')
# Characters that a line of a list cannot contain.
_UNLISTABLE = re.compile(r'^\s|[\t\r\n\ud800-\udfff]')


@dataclass
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
    """

    root: str
    table: str | None = None
    val_share: float = 0.2
    seed: int = 0
    workers: int = 1

    def __post_init__(self):
        self.root = Path(self.root)
        if not self.root.is_dir():
            raise FileNotFoundError(f'folder {self.root} does not exist: make '
                                    'it, with a folder of clips for each '
                                    'class.')
        if not 0 < self.val_share < 1:
            raise ValueError(f'--val-share {self.val_share:g}: give a number '
                             'between 0 and 1.')
        if self.workers < 1:
            raise ValueError(f'workers={self.workers}: give 1 or more.')
        self.findings = Findings()
        # split -> class -> number of clips
        self.summary: dict[str, Counter] = {}
        # What was done, in lines.
        self.notes: list[str] = []

    @property
    def problems_file(self) -> Path:
        """The file that the findings are written to."""
        return self.root / 'folder_problems.txt'

    @property
    def has_lists(self) -> bool:
        """Whether lists were written."""
        return (self.root / _LIST.format('train')).is_file()

    def run(self) -> bool:
        """Check the clips and write their lists.

        Returns:
            bool: Whether no error was found. Sound clips are listed anyway.
        """
        clips = self._select(self._read())
        self._check_classes({clip.label for clip in clips})
        contents = self._read_contents(clips)
        clips = [clip for clip in clips if clip.path in contents]
        classes = sorted({clip.label for clip in clips})
        splits = self._split(clips)
        self._report(splits, classes, contents)
        if all(splits.values()) and len(splits) > 1 and len(classes) > 1:
            self._write(splits, classes)
        else:
            self.findings.add(self._find_lack(splits, classes))
            self._remove_lists(_PARTS)
        self.findings.write(self.problems_file)
        return not self.findings.errors

    def _read(self) -> list[Clip]:
        if self.table:
            clips, unused = read_table(Path(self.table))
            for line in unused:
                self.findings.add(line, is_error=False)
            return clips
        clips = []
        videos, others = find_videos(str(self.root))
        others['.txt'] -= len([*self.root.glob('*.txt')])  # our own
        passed = +others
        if passed:
            self.notes.append(f'Passed over {passed.total()} files that are '
                              f'no videos: {_name_some(passed)}.')
        for path in videos:
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
                f'{self.table or self.root} has clips of {len(classes)} '
                f'classes: give two or more, each with a folder of its own '
                f'in {self.root}, or name them in a --csv.')
        are_splits = {name.lower() for name in classes} <= _SPLIT_NAMES
        if are_splits and not self.table:
            raise ValueError(
                f'the folders in {self.root} are splits, not classes: '
                f'{_name_some(classes)}. Put the folders of the classes '
                'there; the split is drawn.')

    def _read_contents(self, clips: Sequence[Clip]) -> dict[str, Content]:
        """The contents of the clips that can be read."""
        paths = [str(self.root / clip.path) for clip in clips]
        found = check_media(read_content, paths, self.workers)
        contents = {}
        for clip, content in zip(clips, found, strict=True):
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
            self._report_draw(clips, held)
        else:
            parts = [
                part for part in _PARTS
                if part in {'train', *(clip.split for clip in clips)}
            ]
        return {
            part: [clip for clip in clips if clip.split == part]
            for part in parts
        }

    def _report_draw(self, clips: Sequence[Clip], held: set[str]) -> None:
        """Say which groups were drawn, and where that is little."""
        grouped = any(clip.group != clip.path for clip in clips)
        if not grouped or not held:
            return
        self.notes.append(f'For validation: {_name_some(held, 20)}.')
        if len(held) == 1:
            self.findings.add(
                f'validation has one group alone, {min(held)!r}: the accuracy '
                'on it may be far from that on another',
                is_error=False)
        share = sum(clip.group in held for clip in clips) / len(clips)
        if abs(share - self.val_share) > self.val_share / 4:
            self.findings.add(
                f'{share:.1%} of the clips are for validation in place of '
                f'{self.val_share:.1%}: the groups are few and large',
                is_error=False)

    def _find_lack(self, splits: Mapping[str, Sequence[Clip]],
                   classes: Sequence[str]) -> str:
        """Why these clips make no lists."""
        groups = {clip.group for clips in splits.values() for clip in clips}
        if len(classes) < 2:
            why = f'clips of {len(classes)} classes can be read'
        elif len(groups) == 1:
            why = (f'all clips are of one group, {min(groups)!r}, which stays '
                   'on one side of the split: give two or more')
        elif len(splits) == 1:
            why = f'the split of the table has {min(splits)} alone'
        else:
            empty = min(splits, key=lambda part: len(splits[part]))
            why = f'no clip is left for {_PARTS[empty]}'
        return f'{why}; no lists are written, those of an earlier run removed'

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
        self.summary = counts
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
        self._remove_lists(_PARTS.keys() - splits)
        for name, lines in lists.items():
            write_lines(self.root / name, lines)
        self.notes.append(f'Wrote {", ".join(lists)} to {self.root}.')

    def _remove_lists(self, parts: Iterable[str]) -> None:
        """Remove lists of an earlier run."""
        for part in parts:
            (self.root / _LIST.format(part)).unlink(missing_ok=True)

    def format_summary(self) -> str:
        """The number of clips, a class per row; only the sum of many."""
        total = sum(self.summary.values(), Counter())
        names = sorted(total) if len(total) <= MANY_CLASSES else []
        counts = self.summary.values()
        return format_columns(
            [('', *self.summary), *((name, *(count[name] for count in counts))
                                    for name in names),
             ('all', *(count.total() for count in counts))], 8)


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
