"""FineGym: Gym99 and Gym288."""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from .annotation_files import (
    find_annotation,
    find_optional,
    read_columns,
    read_json,
    read_text,
    to_int,
)
from .release import SPLITS, Annotation, Findings, Release


def read_gym(root: Path, classes: Sequence[str], findings: Findings, name: str,
             version: str) -> dict[str, list[Annotation]]:
    """FineGym: lists of elements, one ``name label`` per line."""
    clips = {}
    for split in SPLITS:
        path = _find_list(root, f'{name}_{split}', version)
        clips[split] = [
            Annotation(element, to_int(label, f'{path}: {element}'))
            for element, label in read_columns(path, 2)
        ]
        for other, counts in _COUNTS[name].items():
            if (len(clips[split]) == counts[split] !=
                    _COUNTS[name][version][split]):
                raise ValueError(f'{path} has the {counts[split]} elements of '
                                 f'{other}: give --version {other}, or the '
                                 f'list of {version}.')
    path = find_optional(
        'the elements are not compared with the events',
        findings,
        root,
        f'finegym_annotation_info_{version}.json',
        # the name that MMAction2's script gives to that of v1.0
        *(['annotation.json'] if version == 'v1.0' else []),
    )
    if path:
        known = set(_gym_elements(read_json(path, dict)))
        for split in SPLITS:
            for clip in clips[split]:
                if clip.name not in known:
                    findings.add(f'{split}: {clip.name} is not in {path}')
    return clips


def _find_list(root: Path, name: str, version: str) -> Path:
    # The validation lists, and those that MMAction2's script renames, have no
    # version in their names.
    names = f'{name}_element_{version}', f'{name}_element', f'{name}_org'
    try:
        return find_annotation(root, *(f'{name}.txt' for name in names))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'{str(error).rstrip(".")}, or give another --version.') from error


def _gym_elements(events: dict) -> Iterator[str]:
    """The names of the elements in FineGym's events."""
    for video, video_events in events.items():
        for event, content in _items(video_events):
            for element, _ in _items(dict(_items(content)).get('segments')):
                yield f'{video}_{event}_{element}'


def _items(node: object) -> Iterable[tuple[str, object]]:
    """The items of a JSON object; none for anything else."""
    return node.items() if isinstance(node, dict) else ()


def read_gym288_classes(root: Path, findings: Findings) -> list[str]:
    """Read ``Clabel: 0; set: 1; Glabel: 1; (VT) ...``, one class a line."""
    path = find_optional(
        'predictions will have numbers instead of names',
        findings,
        root,
        'gym288_categories.txt',
    )
    if not path:
        return [f'element {i}' for i in range(288)]
    rows = [
        re.fullmatch(r'Clabel:\s*(\d+);.*;\s*([^;]+?)\s*', line)
        for line in read_text(path).splitlines() if line
    ]
    if (not all(rows) or len(rows) != 288
            or any(int(row[1]) != i for i, row in enumerate(rows))):
        raise ValueError(f'{path} does not name the classes 0 to 287, '
                         '`Clabel: 0; set: ...; Glabel: ...; NAME` a line: '
                         'download it again.')
    return [row[2] for row in rows]


# Number of lines of the lists. The default comes first: the authors' later
# code trains on v1.1 (KimManjin/CorrelationSideTuning).
_COUNTS = dict(
    gym99={
        'v1.1': dict(train=26320, val=8521),
        'v1.0': dict(train=20484, val=8521)
    },
    gym288={
        'v1.1': dict(train=29334, val=9646),
        'v1.0': dict(train=22671, val=9646)
    })
_FOLDERS = dict(videos='subactions', rawframes='subaction_frames')
RELEASES = dict(
    gym99=Release(
        partial(read_gym, name='gym99'),
        counts={},
        exact=SPLITS,
        versions=_COUNTS['gym99'],
        folders=_FOLDERS,
        class_file='gym99_classes.txt',
    ),
    gym288=Release(
        partial(read_gym, name='gym288'),
        counts={},
        exact=SPLITS,
        versions=_COUNTS['gym288'],
        folders=_FOLDERS,
        read_classes=read_gym288_classes,
    ),
)
