"""The releases: what is known about each, and how its lists are read."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from .annotation_files import (
    find_annotation,
    find_optional,
    read_columns,
    read_items,
    read_json,
    read_text,
    to_int,
)
from .release import SPLITS, Annotation, Findings, Release


def read_sthv1(path: Path) -> Iterator[Annotation]:
    """Something-Something V1: one ``id;template`` per line."""
    return (Annotation(*row) for row in read_columns(path, 2, ';'))


def read_sthv2(path: Path) -> Iterator[Annotation]:
    """Something-Something V2: brackets enclose the objects of a template."""
    for item in read_items(path, ('id', 'template')):
        template = re.sub(r'[\[\]]', '', str(item['template']))
        yield Annotation(str(item['id']), template)


def check_names(clips: Mapping, root: Path, classes: Sequence[str],
                version: str, findings: Findings, names: Sequence[str],
                read: Callable) -> None:
    """Compare the classes of Something-Something with those of the configs."""
    path = find_annotation(root, *names)
    found = read(path)
    for name in found:
        if name not in classes:
            findings.add(f'{path}: class {name!r} is not one of the '
                         f'{len(classes)} classes of the configs')
    missing = [name for name in classes if name not in found]
    if missing:
        findings.add(
            f'{path} lacks {len(missing)} of the {len(classes)} '
            f'classes of the configs, such as {missing[0]!r}',
            is_error=False)


def read_k400(path: Path) -> Iterator[Annotation]:
    """Kinetics-400: csv, one YouTube video and its seconds a line."""
    keys = ('label', 'youtube_id', 'time_start', 'time_end')
    reader = csv.DictReader(io.StringIO(read_text(path), newline=''))
    try:
        rows = [*reader]
    except csv.Error as error:
        raise ValueError(f'{path} is not valid CSV ({error}): download it '
                         'again.') from error
    missing = set(keys) - set(reader.fieldnames or ())
    if missing:
        raise ValueError(f'{path} has no column {min(missing)!r}: is it '
                         'the file of another release?')
    for number, row in enumerate(rows, 2):
        start, end = (
            to_int(row[key], f'{path}: line {number}') for key in keys[2:])
        yield Annotation(f'{row["youtube_id"]}_{start:06}_{end:06}',
                         str(row['label']).strip('"'))


def read_diving48(path: Path) -> Iterator[Annotation]:
    """Diving-48: objects with a number for the class."""
    for item in read_items(path, ('vid_name', 'label')):
        name = str(item['vid_name'])
        yield Annotation(name, to_int(item['label'], f'{path}: {name}'))


def check_vocabulary(clips: Mapping, root: Path, classes: Sequence[str],
                     version: str, findings: Findings) -> None:
    """Compare the order of Diving-48's classes with that of the configs."""
    path = find_optional('the order of the classes is not compared', findings,
                         root, 'Diving48_vocab.json')
    if path and list(classes) != [
            '+'.join(map(str, words))
            if isinstance(words, list) else str(words)
            for words in read_json(path, list)
    ]:
        findings.add(
            f'{path} does not name the classes of the configs '
            'in their order: predictions will have wrong names',
            is_error=False)


def read_gym(path: Path) -> Iterator[Annotation]:
    """FineGym: one ``name label`` per line."""
    for element, label in read_columns(path, 2):
        yield Annotation(element, to_int(label, f'{path}: {element}'))


def check_events(clips: Mapping, root: Path, classes: Sequence[str],
                 version: str, findings: Findings) -> None:
    """Compare the elements of FineGym with its events."""
    # the name that MMAction2's script gives to that of v1.0
    other = ['annotation.json'] if version == 'v1.0' else []
    path = find_optional('the elements are not compared with the events',
                         findings, root,
                         f'finegym_annotation_info_{version}.json', *other)
    if path:
        known = set(_gym_elements(read_json(path, dict)))
        for split, of_split in clips.items():
            for clip in of_split:
                if clip.name not in known:
                    findings.add(f'{split}: {clip.name} is not in {path}')


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
    path = find_optional('predictions will have numbers instead of names',
                         findings, root, 'gym288_categories.txt')
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


# exact: the number of lines of the official lists
_STHV1 = Release(
    dict(
        train=['something-something-v1-train.csv'],
        val=['something-something-v1-validation.csv']),
    read_sthv1,
    dict(train=86017, val=11522),
    check=partial(
        check_names,
        names=['something-something-v1-labels.csv'],
        read=lambda path: read_text(path).splitlines()),
    exact=SPLITS,
    storage='rawframes',
    frame_name='{:05}.jpg',
    official_lists=True,
    class_file='sthv1_classes.txt')


def _sthv2_names(name: str) -> list[str]:
    """The first name of a file, and that in today's archive."""
    return [f'something-something-v2-{name}.json', f'labels/{name}.json']


_STHV2 = Release(
    dict(train=_sthv2_names('train'), val=_sthv2_names('validation')),
    read_sthv2,
    dict(train=168913, val=24777),
    check=partial(
        check_names,
        names=_sthv2_names('labels'),
        read=lambda path: list(read_json(path, dict))),
    exact=('val', ),
    official_lists=True,
    class_file='sthv2_classes.txt')
_K400 = Release(
    dict(
        train=['kinetics*train*.csv', 'train*.csv'],
        val=['kinetics*val*.csv', 'val*.csv']),
    read_k400,
    dict(train=240000, val=20000),
    folders=dict(videos='videos_{split}', rawframes='rawframes_{split}'),
    vanishes=True,
    official_lists=True,
    class_file='k400_classes.txt')
_DIVING48 = Release(
    dict(train=['Diving48_V2_train.json'], val=['Diving48_V2_test.json']),
    read_diving48,
    dict(train=15000, val=2000),
    check=check_vocabulary,
    class_file='diving48_classes.txt')


def _gym(name: str, versions: dict, **classes) -> Release:
    """FineGym, with the number of lines of its lists in each version.

    The default version comes first: the authors' later code trains on v1.1
    (KimManjin/CorrelationSideTuning). The validation lists, and those that
    MMAction2's script renames, have no version in their names.
    """
    endings = 'element_{version}', 'element', 'org'
    return Release(
        {
            split: [f'{name}_{split}_{ending}.txt' for ending in endings]
            for split in SPLITS
        },
        read_gym,
        check=check_events,
        exact=SPLITS,
        versions=versions,
        folders=dict(videos='subactions', rawframes='subaction_frames'),
        **classes)


RELEASES = dict(
    sthv1=_STHV1,
    sthv2=_STHV2,
    k400=_K400,
    diving48=_DIVING48,
    diving48_v1=_DIVING48._replace(
        lists=dict(train=['Diving48_train.json'], val=['Diving48_test.json']),
        counts=dict(train=16000, val=2000)),
    gym99=_gym(
        'gym99', {
            'v1.1': dict(train=26320, val=8521),
            'v1.0': dict(train=20484, val=8521)
        },
        class_file='gym99_classes.txt'),
    gym288=_gym(
        'gym288', {
            'v1.1': dict(train=29334, val=9646),
            'v1.0': dict(train=22671, val=9646)
        },
        read_classes=read_gym288_classes))
