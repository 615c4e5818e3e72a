"""Something-Something V1 and V2."""

import re
from collections.abc import Sequence
from pathlib import Path

from .annotation_files import (
    check_names,
    find_annotation,
    read_columns,
    read_items,
    read_json,
    read_text,
)
from .release import SPLITS, Annotation, Findings, Release


def read_sthv1(root: Path, classes: Sequence[str],
               findings: Findings) -> dict[str, list[Annotation]]:
    """Something-Something V1: csv files, one ``id;template`` per line."""
    path = find_annotation(root, 'something-something-v1-labels.csv')
    check_names(path, read_text(path).splitlines(), classes, findings)
    clips = {}
    for split, name in zip(SPLITS, ('train', 'validation'), strict=True):
        path = find_annotation(root, f'something-something-v1-{name}.csv')
        clips[split] = [Annotation(*row) for row in read_columns(path, 2, ';')]
    return clips


def read_sthv2(root: Path, classes: Sequence[str],
               findings: Findings) -> dict[str, list[Annotation]]:
    """Something-Something V2: JSON lists of objects."""
    path = _find_sthv2(root, 'labels')
    check_names(path, list(read_json(path, dict)), classes, findings)
    clips = {}
    for split, name in zip(SPLITS, ('train', 'validation'), strict=True):
        path = _find_sthv2(root, name)
        clips[split] = [
            # Brackets enclose the placeholders of objects.
            Annotation(
                str(item['id']), re.sub(r'[\[\]]', '', str(item['template'])))
            for item in read_items(path, ('id', 'template'))
        ]
    return clips


def _find_sthv2(root: Path, name: str) -> Path:
    # its first name, and that in today's archive
    return find_annotation(root, f'something-something-v2-{name}.json',
                           f'labels/{name}.json')


# exact: the number of lines of the official lists
RELEASES = dict(
    sthv1=Release(
        read_sthv1,
        dict(train=86017, val=11522),
        exact=SPLITS,
        storage='rawframes',
        frame_name='{:05}.jpg',
        official_lists=True,
        class_file='sthv1_classes.txt',
    ),
    sthv2=Release(
        read_sthv2,
        dict(train=168913, val=24777),
        exact=('val', ),
        official_lists=True,
        class_file='sthv2_classes.txt',
    ),
)
