"""From the original releases to the lists that the configs read.

A release is its annotations and its media, videos or folders of frames. Each
reader below turns one format of annotations into clips; what follows is the
same for all of them: find the media, check them, write the lists.
"""
import csv
import io
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from decord import DECORDError, VideoReader
from mmengine.utils import track_parallel_progress, track_progress

PACKAGE = Path(__file__).resolve().parent.parent
VIDEO_ENDINGS = ('.mp4', '.webm', '.avi', '.mkv')
SPLITS = ('train', 'val')


class Clip(NamedTuple):
    """A line of annotations.

    ``label`` is a number, or a class name where the release gives a name.
    ``name`` has no ending. ``num_frames`` is what the annotation states.
    """
    name: str
    label: int | str
    num_frames: int | None = None


class Findings:
    """What is wrong with a release, each thing once.

    Errors cost clips that should be there, or their labels; warnings are
    what a user should know.
    """

    def __init__(self):
        self.errors = {}
        self.warnings = {}

    def add(self, message: str, is_error: bool = True) -> None:
        """Add an error or a warning."""
        (self.errors if is_error else self.warnings)[message] = None

    def lines(self) -> list[str]:
        """All of them, errors first."""
        return [*(f'error: {message}' for message in self.errors),
                *(f'warning: {message}' for message in self.warnings)]


class Release(NamedTuple):
    """What is known of a release.

    Args:
        read (Callable): Takes the folder, the classes and the findings, and
            returns the clips of each split.
        counts (dict[str, int]): Published number of clips of each split.
        exact (Sequence[str]): The splits whose number is certain.
        storage (str): How it ships, 'videos' or 'rawframes'.
        folders (dict[str, str]): Where each storage lies; a folder of each
            split where it says so.
        frame_name (str): The names of frames, which count from 1.
        vanishes (bool): Whether clips are missing from every copy.
        official_lists (bool): Whether the lists of the official code, with
            labels in alphabetical order, are of this release.
    """
    read: Callable
    counts: dict
    exact: Sequence = ()
    storage: str = 'videos'
    folders: dict = dict(videos='videos', rawframes='rawframes')
    frame_name: str = 'img_{:05}.jpg'
    vanishes: bool = False
    official_lists: bool = False


def find_annotation(root: Path, *patterns: str) -> Path:
    """Find a file of annotations by its names; of versions the newest."""
    for pattern in patterns:
        for folder in (root / 'annotations', root):
            found = sorted(folder.glob(pattern))
            if found:
                return found[-1]
    raise FileNotFoundError(
        f'{" or ".join(patterns)} is neither in {root}/annotations nor in '
        f'{root}: put the annotations of the release there.')


def find_optional(consequence: str, findings: Findings, root: Path,
                  *patterns: str) -> Path | None:
    """Find a file of annotations, or warn of what its absence means."""
    try:
        return find_annotation(root, *patterns)
    except FileNotFoundError as error:
        findings.add(f'{consequence}: {error}', is_error=False)
        return None


def read_text(path: Path) -> str:
    """Read a text file."""
    try:
        return path.read_text(encoding='utf-8')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is not a text file in UTF-8: download it '
                         'again.') from error


def read_json(path: Path, kind: type) -> list | dict:
    """Read a JSON file that holds a list or a dict."""
    text = read_text(path)
    try:
        content = json.loads(text)
    except (RecursionError, ValueError) as error:
        raise ValueError(f'{path} is not valid JSON ({error}): download it '
                         'again.') from error
    if not isinstance(content, kind):
        raise ValueError(f'{path} holds a {type(content).__name__} instead '
                         f'of a {kind.__name__}: download it again.')
    return content


def read_items(path: Path, keys: Sequence[str]) -> Iterator[dict]:
    """Read a JSON list of objects that have certain keys."""
    for i, item in enumerate(read_json(path, list)):
        missing = [key for key in keys if not (
            isinstance(item, dict) and key in item)]
        if missing:
            raise ValueError(f'{path}: item {i} has no {missing[0]!r}: is it '
                             'the file of another release?')
        yield item


def read_columns(path: Path, number: int, delimiter: str | None = None,
                 ) -> Iterator[list[str]]:
    """Read the lines of a text file that has a number of columns."""
    for i, line in enumerate(
            read_text(path).splitlines(), 1):
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


def check_names(path: Path, found: Sequence[str], classes: Sequence[str],
                findings: Findings) -> None:
    """Compare the classes of a release with those of the configs."""
    for name in found:
        if name not in classes:
            findings.add(f'{path}: class {name!r} is not one of the '
                         f'{len(classes)} classes of the configs')
    missing = [name for name in classes if name not in found]
    if missing:
        findings.add(f'{path} lacks {len(missing)} of the {len(classes)} '
                     f'classes of the configs, such as {missing[0]!r}',
                     is_error=False)


def read_sthv1(root: Path, classes: Sequence[str],
               findings: Findings) -> dict[str, list[Clip]]:
    """Something-Something V1: csv files, ``id;template`` a line."""
    path = find_annotation(root, 'something-something-v1-labels.csv')
    check_names(path, read_text(path).splitlines(), classes,
                findings)
    clips = {}
    for split, name in zip(SPLITS, ('train', 'validation'), strict=True):
        path = find_annotation(root, f'something-something-v1-{name}.csv')
        clips[split] = [Clip(*row) for row in read_columns(path, 2, ';')]
    return clips


def read_sthv2(root: Path, classes: Sequence[str],
               findings: Findings) -> dict[str, list[Clip]]:
    """Something-Something V2: JSON lists of objects."""
    path = find_annotation(root, 'something-something-v2-labels.json')
    check_names(path, list(read_json(path, dict)), classes, findings)
    clips = {}
    for split, name in zip(SPLITS, ('train', 'validation'), strict=True):
        path = find_annotation(root, f'something-something-v2-{name}.json')
        clips[split] = [
            # The brackets stand around what the video shows.
            Clip(str(item['id']), re.sub(r'[\[\]]', '', str(item['template'])))
            for item in read_items(path, ('id', 'template'))
        ]
    return clips


def read_k400(root: Path, classes: Sequence[str],
              findings: Findings) -> dict[str, list[Clip]]:
    """Kinetics-400: csv files, a YouTube video and its seconds a line."""
    keys = ('label', 'youtube_id', 'time_start', 'time_end')
    clips = {}
    for split, patterns in (
        ('train', ('kinetics*train*.csv', 'train*.csv')),
        ('val', ('kinetics*val*.csv', 'val*.csv'))):
        path = find_annotation(root, *patterns)
        reader = csv.DictReader(io.StringIO(read_text(path), newline=''))
        try:
            rows = [*reader]
        except csv.Error as error:
            raise ValueError(f'{path} is not valid CSV ({error}): download '
                             'it again.') from error
        missing = set(keys) - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f'{path} has no column {min(missing)!r}: is it '
                             'the file of another release?')
        clips[split] = []
        for number, row in enumerate(rows, 2):
            place = f'{path}: line {number}'
            start, end = (to_int(row[key], place) for key in keys[2:])
            clips[split].append(
                Clip(f'{row["youtube_id"]}_{start:06}_{end:06}',
                     str(row['label']).strip('"')))
    return clips


def read_diving48(root: Path, classes: Sequence[str], findings: Findings,
                  prefix: str) -> dict[str, list[Clip]]:
    """Diving-48: JSON lists of objects with a number for the class."""
    path = find_optional('the order of the classes is not compared',
                         findings, root, 'Diving48_vocab.json')
    if path:
        names = ['+'.join(map(str, words)) if isinstance(words, list) else
                 str(words) for words in read_json(path, list)]
        if names != list(classes):
            findings.add(f'{path} does not name the classes of the configs '
                         'in their order: predictions will have wrong names',
                         is_error=False)
    clips = {}
    for split, name in zip(SPLITS, ('train', 'test'), strict=True):
        path = find_annotation(root, f'{prefix}_{name}.json')
        clips[split] = [
            Clip(str(item['vid_name']),
                 to_int(item['label'], f'{path}: {item["vid_name"]}'))
            for item in read_items(path, ('vid_name', 'label'))
        ]
    return clips


def read_gym(root: Path, classes: Sequence[str], findings: Findings,
             name: str) -> dict[str, list[Clip]]:
    """FineGym: lists of elements, ``name label`` a line."""
    clips = {}
    for split in SPLITS:
        path = find_annotation(root, f'{name}_{split}_element*.txt',
                               f'{name}_{split}_org.txt')
        clips[split] = [
            Clip(element, to_int(label, f'{path}: {element}'))
            for element, label in read_columns(path, 2)
        ]
    path = find_optional('the elements are not compared with the events',
                         findings, root, 'finegym_annotation_info*.json',
                         'annotation.json')
    if path:
        known = set(_gym_elements(read_json(path, dict)))
        for split in SPLITS:
            for clip in clips[split]:
                if clip.name not in known:
                    findings.add(f'{split}: {clip.name} is not in {path}')
    return clips


def _gym_elements(events: dict) -> Iterator[str]:
    """The names of the elements in FineGym's events."""
    for video, video_events in events.items():
        for event, content in _items(video_events):
            for element, _ in _items(dict(_items(content)).get('segments')):
                yield f'{video}_{event}_{element}'


def _items(node: object) -> Iterable[tuple[str, object]]:
    """The items of a JSON object, none of anything else."""
    return node.items() if isinstance(node, dict) else ()


def read_official(paths: Sequence[str], classes: Sequence[str],
                  keep_paths: bool) -> dict[str, list[Clip]]:
    """The lists of the official code: ``/path frames label`` a line.

    Args:
        paths (Sequence[str]): The lists of the splits.
        classes (Sequence[str]): The classes in the order of the configs. The
            labels of the lists count them in alphabetical order.
        keep_paths (bool): Whether the media lie where the lists say; if not,
            only the last part of a path counts.
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
                Clip(name if keep_paths else PurePosixPath(name).name, label,
                     to_int(frames, f'{path}: {name}')))
    return clips


_GYM_FOLDERS = dict(videos='subactions', rawframes='subaction_frames')
RELEASES = dict(
    # exact: the lines of the official lists
    sthv1=Release(
        read_sthv1,
        dict(train=86017, val=11522),
        exact=SPLITS,
        storage='rawframes',
        frame_name='{:05}.jpg',
        official_lists=True),
    sthv2=Release(
        read_sthv2,
        dict(train=168913, val=24777),
        exact=('val', ),
        official_lists=True),
    k400=Release(
        read_k400,
        dict(train=240000, val=20000),
        folders=dict(
            videos='videos_{split}', rawframes='rawframes_{split}'),
        vanishes=True,
        official_lists=True),
    diving48=Release(
        partial(read_diving48, prefix='Diving48_V2'),
        dict(train=15000, val=2000)),
    diving48_v1=Release(
        partial(read_diving48, prefix='Diving48'),
        dict(train=16000, val=2000)),
    gym99=Release(
        partial(read_gym, name='gym99'),
        dict(train=20500, val=8500),
        folders=_GYM_FOLDERS),
    gym288=Release(
        partial(read_gym, name='gym288'),
        dict(train=22700, val=9600),
        folders=_GYM_FOLDERS))


def load_classes(dataset: str, root: Path, findings: Findings) -> list[str]:
    """The classes of a data set in the order of its labels.

    They come with the configs, except those of Gym288.
    """
    if dataset == 'gym288':
        return _load_gym288_classes(root, findings)
    name = f'configs/_base_/datasets/{dataset.split("_")[0]}_classes.txt'
    # beside the package in a source tree, inside it once installed
    paths = [folder / name for folder in (PACKAGE.parent, PACKAGE / '.mim')]
    for path in paths:
        if path.is_file():
            return read_text(path).splitlines()
    raise FileNotFoundError(f'{paths[0]} does not exist: install the package '
                            'again.')


def _load_gym288_classes(root: Path, findings: Findings) -> list[str]:
    """Read ``Clabel: 0; set: 1; Glabel: 1; (VT) ...``, a class a line."""
    path = find_optional('predictions will have numbers for names', findings,
                         root, 'gym288_categories.txt')
    if not path:
        return [f'element {i}' for i in range(288)]
    rows = [re.fullmatch(r'Clabel:\s*(\d+);.*;\s*([^;]+?)\s*', line)
            for line in read_text(path).splitlines() if line]
    if (not all(rows) or len(rows) != 288
            or any(int(row[1]) != i for i, row in enumerate(rows))):
        raise ValueError(f'{path} does not name the classes 0 to 287, '
                         '`Clabel: 0; set: ...; Glabel: ...; NAME` a line: '
                         'download it again.')
    return [row[2] for row in rows]


def select_clips(clips: dict[str, list[Clip]], classes: Sequence[str],
                 findings: Findings,
                 keep_paths: bool = False) -> dict[str, list[Clip]]:
    """Give the clips numbers for labels, and drop those that are not sound.

    A clip of the validation split that is in the training split as well is
    dropped from the training split.

    Args:
        clips (dict[str, list[Clip]]): The clips of each split, as read.
        classes (Sequence[str]): The classes in the order of the labels.
        findings (Findings): Where to report.
        keep_paths (bool): Whether a clip may lie anywhere.
    """
    numbers = {name: i for i, name in enumerate(classes)}
    selected = {split: {} for split in clips}
    for split, of_split in clips.items():
        for clip in of_split:
            label = clip.label
            if isinstance(label, str):
                label = numbers.get(label)
            if not keep_paths and not is_inside(clip.name):
                findings.add(f'{split}: {clip.name!r} leads out of the '
                             'folder of the data')
            elif not clip.name or re.search(r'\s', clip.name):
                findings.add(f'{split}: {clip.name!r} is empty or has a '
                             'space, which a list cannot hold')
            elif label is None:
                findings.add(f'{split}: {clip.name} has the unknown class '
                             f'{clip.label!r}')
            elif not 0 <= label < len(classes):
                findings.add(f'{split}: {clip.name} has label {label}, which '
                             f'is not from 0 to {len(classes) - 1}')
            elif clip.name in selected[split]:
                findings.add(f'{split}: {clip.name} is there twice; the '
                             'first counts')
            else:
                selected[split][clip.name] = clip._replace(label=label)
    for name in [*selected['train']]:
        if name in selected['val']:
            findings.add(f'{name} is in train and in val; val keeps it')
            del selected['train'][name]
    return {split: [*of_split.values()]
            for split, of_split in selected.items()}


def is_inside(name: str) -> bool:
    """Whether a relative path stays in its folder."""
    path = PurePosixPath(name.replace('\\', '/'))
    return not path.is_absolute() and '..' not in path.parts


def index_videos(folder: Path) -> dict[str, str]:
    """Map each video's name without ending to its path in a folder.

    Videos lie in the folder, or one level deeper in a folder per class.
    """
    videos, inner = {}, ['']
    for place in inner:
        with os.scandir(folder / place) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                stem, ending = os.path.splitext(entry.name)
                if ending.lower() in VIDEO_ENDINGS:
                    videos[stem] = os.path.join(place, entry.name)
                elif not place and entry.is_dir():
                    inner.append(entry.name)
    return videos


def count_video_frames(path: str, decode: bool = True) -> int | str:
    """The frames of a video, or what is wrong with it."""
    if not os.path.getsize(path):
        return 'is an empty file'
    if not decode:
        return 1
    try:
        return len(VideoReader(path, num_threads=1)) or 'has no frames'
    except (DECORDError, RuntimeError):
        return 'cannot be decoded as a video'


def count_frames(folder: str, frame_name: str) -> int | str:
    """The frames in a folder, or what is wrong with them."""
    names = set(os.listdir(folder))
    number = 0
    while frame_name.format(number + 1) in names:
        number += 1
    ending = os.path.splitext(frame_name)[1]
    images = sum(name.endswith(ending) for name in names)
    if not number:
        return f'has no {frame_name.format(1)}'
    if number < images:
        return (f'has {images} images, but no '
                f'{frame_name.format(number + 1)}')
    return number


def scan(check: Callable, paths: Sequence[str], workers: int) -> list:
    """Check files in parallel, with a progress bar on stderr."""
    if not paths:
        return []
    if workers == 1 or len(paths) == 1:
        results = track_progress(check, paths, file=sys.stderr)
    else:
        # large enough to be cheap to hand out, small enough to share the end
        chunk = max(1, min(64, len(paths) // (4 * workers)))
        results = track_parallel_progress(
            check, paths, workers, chunksize=chunk, file=sys.stderr)
    print(file=sys.stderr)
    return results


class Preparation:
    """Writes the lists of one data set.

    Args:
        dataset (str): Its name in :data:`RELEASES`.
        root (str): The folder that holds ``annotations`` and the media.
        storage (str, optional): 'videos' or 'rawframes'. By default as the
            data set ships.
        partial_copy (bool): Whether a part of the release is all that there
            should be: missing clips and small numbers are warnings then.
        official_lists (Sequence[str], optional): The lists of the official
            code for training and validation, in place of the annotations.
        keep_paths (bool): Whether the clips lie where ``official_lists``
            says, be it outside of ``root``.
        decode (bool): Whether to open every video.
        workers (int): How many processes check the media.
    """

    def __init__(self,
                 dataset: str,
                 root: str,
                 storage: str | None = None,
                 partial_copy: bool = False,
                 official_lists: Sequence[str] | None = None,
                 keep_paths: bool = False,
                 decode: bool = True,
                 workers: int = 1):
        self.dataset, self.root = dataset, Path(root)
        self.release = RELEASES[dataset]
        self.storage = storage or self.release.storage
        self.allows_missing = partial_copy or self.release.vanishes
        self.partial_copy = partial_copy
        self.official_lists = official_lists
        self.keep_paths = keep_paths
        self.decode = decode
        self.workers = workers
        self.findings = Findings()
        # split -> column of the summary -> number
        self.summary = {split: Counter() for split in SPLITS}
        if not self.root.is_dir():
            raise FileNotFoundError(f'folder {root} does not exist.')
        if workers < 1:
            raise ValueError(f'workers={workers}: give 1 or more.')
        if official_lists and not self.release.official_lists:
            raise ValueError(f'the official code has no lists of {dataset}: '
                             'leave out --official-lists.')
        if keep_paths and not official_lists:
            raise ValueError('--keep-paths is for --official-lists only.')

    @property
    def problems_file(self) -> Path:
        """Where the findings go."""
        return self.root / f'{self.dataset}_problems.txt'

    def run(self) -> bool:
        """Check the release and write its lists.

        Returns:
            bool: Whether no error was found. What is sound is listed anyway.
        """
        classes = load_classes(self.dataset, self.root, self.findings)
        self.classes = classes
        if self.official_lists:
            clips = read_official(self.official_lists, classes,
                                  self.keep_paths)
        else:
            clips = self.release.read(self.root, classes, self.findings)
        for split in SPLITS:
            self._check_count(split, len({clip.name for clip in clips[split]}))
        clips = select_clips(clips, classes, self.findings, self.keep_paths)

        lists = {f'{self.dataset}_classes.txt': classes}
        for split in SPLITS:
            if self.storage == 'videos':
                lines = self._list_videos(split, clips[split])
            else:
                lines = self._list_rawframes(split, clips[split])
            self.summary[split]['listed'] = len(lines)
            if lines:
                lists[f'{self.dataset}_{split}_list_{self.storage}.txt'] = (
                    lines)
            else:
                self.findings.add(f'{split}: there is no clip to list; the '
                                  'list is not written')
        for name, lines in lists.items():
            write_lines(self.root / name, lines)
        if self.findings.lines():
            write_lines(self.problems_file, self.findings.lines())
        else:
            self.problems_file.unlink(missing_ok=True)
        return not self.findings.errors

    def _check_count(self, split: str, annotated: int) -> None:
        published = self.release.counts[split]
        exact = split in self.release.exact
        self.summary[split].update(annotated=annotated, published=published)
        # A number without a source is good to about a tenth.
        tolerance = 0 if exact else published // 10
        if abs(annotated - published) > tolerance:
            self.findings.add(
                f'{split}: {annotated} clips are annotated, '
                f'{"" if exact else "about "}{published} are published',
                is_error=exact and not self.partial_copy)

    def _folder(self, split: str) -> Path:
        folder = self.root / self.release.folders[self.storage].format(
            split=split)
        if not folder.is_dir():
            raise FileNotFoundError(
                f'folder {folder} does not exist: move or link the '
                f'{self.storage} of the release there.')
        return folder

    def _list_videos(self, split: str, clips: Sequence[Clip]) -> list[str]:
        """Lines ``file label``."""
        folder = self._folder(split)
        videos = index_videos(folder)
        found = []
        for clip in clips:
            if self.keep_paths:
                path = next((clip.name + ending for ending in VIDEO_ENDINGS
                             if (folder / (clip.name + ending)).is_file()),
                            None)
            else:
                path = videos.get(clip.name)
            if path is None:
                self._add_missing(split, f'{clip.name} has no video')
            elif re.search(r'\s', path):
                self.findings.add(
                    f'{split}: the name of the folder '
                    f'{os.path.dirname(path)!r} has a space, which a list '
                    'cannot hold: replace it by an underscore')
            else:
                found.append((clip, path))
        extra = len(videos.keys() - {clip.name for clip in clips})
        if extra and '{split}' in self.release.folders['videos']:
            self.findings.add(f'{folder} has {extra} videos that are not '
                              'annotated', is_error=False)
        counts = scan(
            partial(count_video_frames, decode=self.decode),
            [str(folder / path) for _, path in found], self.workers)
        return [
            f'{path} {clip.label}'
            for (clip, path), count in zip(found, counts, strict=True)
            if self._is_sound(split, path, count)
        ]

    def _list_rawframes(self, split: str, clips: Sequence[Clip]) -> list[str]:
        """Lines ``folder frames label``."""
        folder = self._folder(split)
        found = []
        for clip in clips:
            # Frames of Kinetics lie in a folder per class, as its videos.
            inner = self.classes[clip.label].replace(' ', '_')
            places = (clip.name, os.path.join(inner, clip.name))
            path = next((path for path in places if (folder / path).is_dir()),
                        None)
            if path:
                found.append((clip, path))
            else:
                self._add_missing(split, f'{clip.name} has no folder')
        counts = scan(
            partial(count_frames, frame_name=self.release.frame_name),
            [str(folder / path) for _, path in found], self.workers)
        lines = []
        for (clip, path), count in zip(found, counts, strict=True):
            if not self._is_sound(split, path, count):
                continue
            if clip.num_frames not in (None, count):
                self.findings.add(f'{split}: {clip.name} has {count} frames '
                                  f'instead of {clip.num_frames}')
            lines.append(f'{path} {count} {clip.label}')
        return lines

    def _add_missing(self, split: str, message: str) -> None:
        self.summary[split]['missing'] += 1
        self.findings.add(f'{split}: {message}',
                          is_error=not self.allows_missing)

    def _is_sound(self, split: str, name: str, count: int | str) -> bool:
        if isinstance(count, int):
            return True
        self.summary[split]['unreadable'] += 1
        self.findings.add(f'{split}: {name} {count}')
        return False

    def table(self) -> str:
        """The summary, a split per row."""
        columns = ('published', 'annotated', 'missing', 'unreadable',
                   'listed')
        rows = [f'{"":6}' + ''.join(f'{name:>12}' for name in columns)]
        for split, numbers in self.summary.items():
            cells = {name: f'{numbers[name]}' for name in columns}
            if split not in self.release.exact:
                cells['published'] = f'~{cells["published"]}'
            rows.append(f'{split:6}' + ''.join(
                f'{cells[name]:>12}' for name in columns))
        return '\n'.join(rows)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file as a whole or not at all."""
    text = ''.join(f'{line}\n' for line in lines)
    if path.is_file() and path.read_bytes() == text.encode():
        return
    # beside it, so that the replacement is atomic
    draft = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        draft.write_text(text, encoding='utf-8')
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
