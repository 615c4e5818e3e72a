"""From an original release to the lists that the configs read."""

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from selfy_mmaction.evaluation.tables import format_columns
from selfy_mmaction.files import is_inside

from .annotation_files import find_annotation, read_official, read_text
from .files_of_release import (
    VIDEO_ENDINGS,
    check_media,
    count_frames,
    count_video_frames,
    index_videos,
)
from .readers import RELEASES
from .release import SPLITS, Annotation, Findings, Release, write_lines

# The folder of configs/ and tools/: a source tree, or what MIM installs.
ROOT = Path(__file__).resolve().parents[3]


def load_classes(release: Release, root: Path,
                 findings: Findings) -> list[str]:
    """The classes, which come with the configs unless the release has them."""
    if release.read_classes:
        return release.read_classes(root, findings)
    path = ROOT / 'configs/_base_/datasets' / release.class_file
    return read_text(path).splitlines()


def select_clips(
    clips: dict[str, list[Annotation]],
    classes: Sequence[str],
    findings: Findings,
    root: Path | None,
) -> dict[str, list[Annotation]]:
    """Convert the labels of the clips to numbers, and drop bad clips.

    A clip of the validation split that is in the training split as well is
    dropped from the training split. Clips outside of the root, if there is
    one, are bad.
    """
    numbers = {name: i for i, name in enumerate(classes)}
    selected = {split: {} for split in clips}
    for split, of_split in clips.items():
        for clip in of_split:
            label = clip.label
            if isinstance(label, str):
                label = numbers.get(label)
            if root and not is_inside(clip.name, root):
                findings.add(f'{split}: {clip.name!r} leads out of the '
                             'folder of the data')
            elif not clip.name or re.search(r'\s', clip.name):
                findings.add(f'{split}: {clip.name!r} is empty or has a '
                             'space, which a list cannot contain')
            elif label is None:
                findings.add(f'{split}: {clip.name} has the unknown class '
                             f'{clip.label!r}')
            elif not 0 <= label < len(classes):
                findings.add(f'{split}: {clip.name} has label {label}, which '
                             f'is not from 0 to {len(classes) - 1}')
            elif clip.name in selected[split]:
                findings.add(
                    f'{split}: {clip.name} is listed twice; the first is used')
            else:
                selected[split][clip.name] = clip._replace(label=label)
    for name in [*selected['train']]:
        if name in selected['val']:
            findings.add(f'{name} is in train and in val; val keeps it')
            del selected['train'][name]
    return {
        split: [*of_split.values()]
        for split, of_split in selected.items()
    }


@dataclass
class Preparation:
    """Writes the lists of one data set.

    Args:
        dataset (str): Its name in :data:`RELEASES`.
        root (str): The folder that holds ``annotations`` and the media.
        storage (str, optional): 'videos' or 'rawframes'. By default as the
            data set ships.
        partial_copy (bool): Whether only a part of the release is expected:
            missing clips and small numbers are then warnings.
        official_lists (Sequence[str], optional): The lists of the official
            code for training and validation, instead of the annotations.
        keep_paths (bool): Whether the clips are where ``official_lists``
            says, also outside of ``root``.
        version (str, optional): The version of the release, if it has
            several. By default the first of its ``versions``.
        decode (bool): Whether to open every video.
        workers (int): How many processes check the media.
    """

    dataset: str
    root: str
    storage: str | None = None
    partial_copy: bool = False
    official_lists: Sequence[str] | None = None
    keep_paths: bool = False
    version: str | None = None
    decode: bool = True
    workers: int = 1

    def __post_init__(self):
        self.root = Path(self.root)
        self.release = RELEASES[self.dataset]
        self.storage = self.storage or self.release.storage
        self.allows_missing = self.partial_copy or self.release.vanishes
        self.findings = Findings()
        self.notes: list[str] = []
        # split -> column of the summary -> number
        self.summary = {split: Counter() for split in SPLITS}
        if not self.root.is_dir():
            raise FileNotFoundError(f'folder {self.root} does not exist.')
        if self.workers < 1:
            raise ValueError(f'workers={self.workers}: give 1 or more.')
        if self.official_lists and not self.release.official_lists:
            raise ValueError('the official code has no lists of '
                             f'{self.dataset}: leave out --official-lists.')
        if self.keep_paths and not self.official_lists:
            raise ValueError('--keep-paths is for --official-lists only.')
        versions = self.release.versions
        if self.version and self.version not in versions:
            raise ValueError(f'--version {self.version}: {self.dataset} has '
                             f'{" and ".join(versions) or "no versions"}.')
        self.version = self.version or next(iter(versions), '')
        if versions:
            self.release = self.release._replace(counts=versions[self.version])

    @property
    def problems_file(self) -> Path:
        """The file that the findings are written to."""
        return self.root / f'{self.dataset}_problems.txt'

    def run(self) -> bool:
        """Check the release and write its lists.

        Returns:
            bool: Whether no error was found. Sound clips are listed anyway.
        """
        classes = load_classes(self.release, self.root, self.findings)
        self.classes = classes
        if self.official_lists:
            clips = read_official(self.official_lists, classes,
                                  self.keep_paths)
        else:
            clips = self._read()
        for split in SPLITS:
            self._check_count(split, len({clip.name for clip in clips[split]}))
        clips = select_clips(
            clips,
            classes,
            self.findings,
            None if self.keep_paths else self.root,
        )

        lists = {f'{self.dataset}_classes.txt': classes}
        for split in SPLITS:
            lines = self._list(split, clips[split])
            self.summary[split]['listed'] = len(lines)
            if lines:
                lists[f'{self.dataset}_{split}_list_{self.storage}.txt'] = (
                    lines)
            else:
                self.findings.add(f'{split}: there is no clip to list; no '
                                  'list is written')
        for name, lines in lists.items():
            write_lines(self.root / name, lines)
        self.findings.write(self.problems_file)
        return not self.findings.errors

    def _read(self) -> dict[str, list[Annotation]]:
        """The clips of each split, as the release has them."""
        clips = {}
        for split in SPLITS:
            path = self._find_list(split)
            clips[split] = [*self.release.read(path)]
            number = len(clips[split])
            for other, counts in self.release.versions.items():
                if number == counts[split] != self.release.counts[split]:
                    raise ValueError(
                        f'{path} has the {number} elements of {other}: give '
                        f'--version {other}, or the list of {self.version}.')
        if self.release.check:
            self.release.check(clips, self.root, self.classes, self.version,
                               self.findings)
        return clips

    def _find_list(self, split: str) -> Path:
        names = (
            name.format(version=self.version)
            for name in self.release.lists[split])
        try:
            return find_annotation(self.root, *names)
        except FileNotFoundError as error:
            if not self.version:
                raise
            raise FileNotFoundError(f'{str(error).rstrip(".")}, or give '
                                    'another --version.') from error

    def _check_count(self, split: str, annotated: int) -> None:
        published = self.release.counts[split]
        exact = split in self.release.exact
        self.summary[split].update(annotated=annotated, published=published)
        # A number without a source is accurate to about a tenth.
        tolerance = 0 if exact else published // 10
        if abs(annotated - published) > tolerance:
            self.findings.add(
                f'{split}: {annotated} clips are annotated, '
                f'{"" if exact else "about "}{published} are published'
                f'{self.version and f" as {self.version}"}',
                is_error=exact and not self.partial_copy,
            )

    def _folder(self, split: str) -> Path:
        folder = self.root / self.release.folders[self.storage].format(
            split=split)
        if not folder.is_dir():
            raise FileNotFoundError(
                f'folder {folder} does not exist: move or link the '
                f'{self.storage} of the release there.')
        return folder

    def _list(self, split: str, clips: Sequence[Annotation]) -> list[str]:
        """Lines ``file label``, or ``folder frames label`` of frames."""
        folder = self._folder(split)
        are_videos = self.storage == 'videos'
        if are_videos:
            find = self._index_videos(folder, clips)
            count = partial(count_video_frames, decode=self.decode)
        else:
            find = partial(self._find_frames, folder)
            count = partial(count_frames, frame_name=self.release.frame_name)
        found = []
        for clip in clips:
            path = find(clip)
            if path is None:
                self.summary[split]['missing'] += 1
                what = 'video' if are_videos else 'folder'
                self.findings.add(
                    f'{split}: {clip.name} has no {what}',
                    is_error=not self.allows_missing)
            elif re.search(r'\s', path):
                self.findings.add(
                    f'{split}: the name of the folder '
                    f'{os.path.dirname(path)!r} has a space, which a list '
                    'cannot contain: replace it with an underscore')
            else:
                found.append((clip, path))
        paths = [str(folder / path) for _, path in found]
        counts = check_media(count, paths, self.workers)
        lines = []
        for (clip, path), frames in zip(found, counts, strict=True):
            if isinstance(frames, str):
                self.summary[split]['unreadable'] += 1
                self.findings.add(f'{split}: {path} {frames}')
            elif are_videos:
                lines.append(f'{path} {clip.label}')
            else:
                lines.append(f'{path} {frames} {clip.label}')
                if clip.num_frames not in (None, frames):
                    self.findings.add(f'{split}: {clip.name} has {frames} '
                                      f'frames instead of {clip.num_frames}')
        return lines

    def _index_videos(self, folder: Path,
                      clips: Sequence[Annotation]) -> Callable:
        """What finds a clip's path in the folder, or None."""
        videos = index_videos(folder)
        extra = len(videos.keys() - {clip.name for clip in clips})
        if extra and '{split}' in self.release.folders['videos']:
            self.findings.add(
                f'{folder} has {extra} videos that are not annotated',
                is_error=False)
        if not self.keep_paths:
            return lambda clip: videos.get(clip.name)
        return lambda clip: next(
            (clip.name + ending for ending in VIDEO_ENDINGS
             if (folder / (clip.name + ending)).is_file()), None)

    def _find_frames(self, folder: Path, clip: Annotation) -> str | None:
        """The path of a clip's frames in the folder, if they are there."""
        # Frames of Kinetics are in a folder per class, as its videos are.
        inner = self.classes[clip.label].replace(' ', '_')
        places = (clip.name, os.path.join(inner, clip.name))
        return next((path for path in places if (folder / path).is_dir()),
                    None)

    def format_summary(self) -> str:
        """The summary, a split per row; the version is in its corner."""
        columns = ('published', 'annotated', 'missing', 'unreadable', 'listed')
        rows = [(f'{self.version:6}', *columns)]
        for split, numbers in self.summary.items():
            cells = [str(numbers[name]) for name in columns]
            if split not in self.release.exact:
                cells[0] = f'~{cells[0]}'
            rows.append((split, *cells))
        return format_columns(rows, 12)
