"""Diving-48, with the labels of V1 or V2."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from .annotation_files import (
    find_annotation,
    find_optional,
    read_items,
    read_json,
    to_int,
)
from .release import SPLITS, Annotation, Findings, Release


def read_diving48(root: Path, classes: Sequence[str], findings: Findings,
                  prefix: str) -> dict[str, list[Annotation]]:
    """Diving-48: JSON lists of objects with a number for the class."""
    path = find_optional(
        'the order of the classes is not compared',
        findings,
        root,
        'Diving48_vocab.json',
    )
    if path:
        names = [
            '+'.join(map(str, words))
            if isinstance(words, list) else str(words)
            for words in read_json(path, list)
        ]
        if names != list(classes):
            findings.add(
                f'{path} does not name the classes of the configs '
                'in their order: predictions will have wrong names',
                is_error=False,
            )
    clips = {}
    for split, name in zip(SPLITS, ('train', 'test'), strict=True):
        path = find_annotation(root, f'{prefix}_{name}.json')
        clips[split] = [
            Annotation(
                str(item['vid_name']),
                to_int(item['label'], f'{path}: {item["vid_name"]}'),
            ) for item in read_items(path, ('vid_name', 'label'))
        ]
    return clips


RELEASES = dict(
    diving48=Release(
        partial(read_diving48, prefix='Diving48_V2'),
        dict(train=15000, val=2000),
        class_file='diving48_classes.txt',
    ),
    diving48_v1=Release(
        partial(read_diving48, prefix='Diving48'),
        dict(train=16000, val=2000),
        class_file='diving48_classes.txt',
    ),
)
