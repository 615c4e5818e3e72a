"""Lists of clips and of class names, checked before they are used.

MMAction2 finds a malformed line only deep in its own code, and reads any file
that a line names.
"""
import os
import os.path as osp
import re
from collections import Counter
from collections.abc import Mapping

from mmaction.utils import get_str_type
from mmengine.fileio import list_from_file

from ..files import is_inside
from .video import SUFFIXES

# The columns that MMAction2 reads, and where it looks for their files.
_COLUMNS = dict(
    VideoDataset='FILE LABEL', RawframeDataset='FOLDER FRAMES LABEL')
_PREFIXES = dict(VideoDataset='video', RawframeDataset='img')


def read_lines(path: str) -> list[str]:
    """Read the lines of a text file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not text, or begins with a byte-order mark.
    """
    if '://' not in path and not osp.isfile(path):
        raise FileNotFoundError(f'file {path} does not exist.')
    try:
        lines = list_from_file(path)
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is not a text file in UTF-8: give one with '
                         'an entry per line.') from error
    # MMAction2 reads the file again, and would take it as part of the name.
    if lines and lines[0].startswith('\ufeff'):
        raise ValueError(f'{path} begins with a byte-order mark: save it as '
                         'UTF-8 without one.')
    return lines


def read_classes(path: str, num_classes: int, owner: str) -> list[str]:
    """Read a file with one class name per line.

    Args:
        path (str): The file.
        num_classes (int): The expected number of classes.
        owner (str): What has this number of classes, for the message.

    Raises:
        ValueError: If it names another number of classes.
    """
    classes = [name for name in read_lines(path) if name]
    if len(classes) != num_classes:
        raise ValueError(f'{path} names {len(classes)} classes, but {owner} '
                         f'has {num_classes}: give a file with as many.')
    return classes


def numbered_classes(num_classes: int) -> list[str]:
    """Names for classes without names."""
    return [f'class {i}' for i in range(num_classes)]


def find_videos(folder: str) -> tuple[list[str], Counter]:
    """Find the videos in a folder and its subfolders, by their endings.

    Links are followed, each folder is visited once, and hidden files and
    folders are skipped.

    Returns:
        tuple[list[str], Counter]: The paths, sorted, and how many files of
        each other ending there are.

    Raises:
        FileNotFoundError: If there is no video.
    """
    videos, others, visited = [], Counter(), set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(n for n in folders if not n.startswith('.'))
        for name in names:
            ending = os.path.splitext(name)[1].lower()
            if name.startswith('.'):
                continue
            if ending in SUFFIXES:
                videos.append(os.path.join(place, name))
            else:
                others[ending or name] += 1
    if not videos:
        raise FileNotFoundError(
            f'folder {folder} holds no video ({", ".join(SUFFIXES)}).')
    return sorted(videos), others


def check_list(dataset: Mapping,
               num_classes: int | None,
               may_lack_labels: bool = False) -> None:
    """Raise if MMAction2 could not read a list, or would read files outside
    of the data folder.

    Args:
        dataset (Mapping): The config of a VideoDataset or a RawframeDataset;
            lists of other types are not checked.
        num_classes (int, optional): Labels must be below it, if given.
        may_lack_labels (bool): Whether the list may have no labels.

    Raises:
        FileNotFoundError: If the list or the folder does not exist.
        ValueError: If a line is malformed, its label is not from 0 to
            ``num_classes`` - 1, or its path is not in the folder.
    """
    kind = get_str_type(dataset['type']).split('.')[-1]
    if kind not in _COLUMNS:
        return
    root = dataset.get('data_root') or ''
    path = osp.join(root, dataset['ann_file'])
    lines = read_lines(path)
    if not lines:
        raise ValueError(f'{path} is empty: give a list of lines '
                         f'`{_COLUMNS[kind]}`.')
    prefixes = dataset.get('data_prefix') or {}
    folder = osp.join(root, prefixes.get(_PREFIXES[kind]) or '')
    if folder and '://' not in folder and not osp.isdir(folder):
        raise FileNotFoundError(
            f'folder {folder} of the clips in {path} does not exist: set '
            'data_root and data_prefix of the dataset.')
    for number, line in enumerate(lines, 1):
        place = f'{path}: line {number}'
        name, labels = _parse_line(line, dataset, kind, place)
        if folder and not is_inside(name, folder):
            raise ValueError(
                f'{place} leads out of {folder}: {name!r}; if that is meant, '
                "set data_prefix of the dataset to '/'.")
        if not labels and not may_lack_labels:
            raise ValueError(f'{place} has no label: {line!r}, where '
                             f'`{_COLUMNS[kind]}` is expected.')
        for label in labels:
            if num_classes and not 0 <= label < num_classes:
                raise ValueError(
                    f'{place} has label {label} for {name}, but '
                    f'model.cls_head.num_classes={num_classes}: labels go '
                    f'from 0 to {num_classes - 1}.')
    if kind == 'RawframeDataset':
        name, _ = _parse_line(lines[0], dataset, kind, path)
        _check_frame_name(osp.join(folder, name), dataset)


def _parse_line(line: str, dataset: Mapping, kind: str,
                place: str) -> tuple[str, list[int]]:
    """The file or folder and the labels of a line, as MMAction2 reads it."""
    delimiter, skipped = dataset.get('delimiter', ' '), 0
    if kind == 'RawframeDataset':
        delimiter, skipped = None, 2 if dataset.get('with_offset') else 1
    name, *numbers = line.strip().split(delimiter) or ['']
    most = len(numbers) if dataset.get('multi_class') else skipped + 1
    if (not name or not skipped <= len(numbers) <= most
            or not all(re.fullmatch(r'-?\d{1,9}', x) for x in numbers)):
        hint = ''
        if len(numbers) > most and delimiter in (' ', None):
            hint = ' If a name has a space, replace it with an underscore.'
        raise ValueError(f'{place} is {line!r}, where `{_COLUMNS[kind]}` is '
                         f'expected.{hint}')
    return name, [int(number) for number in numbers[skipped:]]


def _check_frame_name(folder: str, dataset: Mapping) -> None:
    """Raise if a folder has frames, but with other names than expected."""
    number = dataset.get('start_index', 1)
    template = dataset.get('filename_tmpl', 'img_{:05}.jpg')
    try:
        expected = template.format(number)
    except (IndexError, KeyError, ValueError) as error:
        raise ValueError(
            f'filename_tmpl={template!r} is not a template of '
            'file names: give one such as img_{:05}.jpg.') from error
    names = sorted(os.listdir(folder)) if osp.isdir(folder) else []
    if names and expected not in names:
        raise ValueError(f'{folder} has no {expected}, but {names[0]}: set '
                         f'filename_tmpl={template!r} of the dataset to its '
                         'names.')
