"""Kinetics-400."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from .annotation_files import find_annotation, read_text, to_int
from .release import Annotation, Findings, Release


def read_k400(root: Path, classes: Sequence[str],
              findings: Findings) -> dict[str, list[Annotation]]:
    """Kinetics-400: csv files, one YouTube video and its seconds a line."""
    keys = ('label', 'youtube_id', 'time_start', 'time_end')
    clips = {}
    for split, patterns in (
        ('train', ('kinetics*train*.csv', 'train*.csv')),
        ('val', ('kinetics*val*.csv', 'val*.csv')),
    ):
        path = find_annotation(root, *patterns)
        reader = csv.DictReader(io.StringIO(read_text(path), newline=''))
        try:
            rows = [*reader]
        except csv.Error as error:
            raise ValueError(
                f'{path} is not valid CSV ({error}): download it again.'
            ) from error
        missing = set(keys) - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f'{path} has no column {min(missing)!r}: is it '
                             'the file of another release?')
        clips[split] = []
        for number, row in enumerate(rows, 2):
            place = f'{path}: line {number}'
            start, end = (to_int(row[key], place) for key in keys[2:])
            clips[split].append(
                Annotation(
                    f'{row["youtube_id"]}_{start:06}_{end:06}',
                    str(row['label']).strip('"'),
                ))
    return clips


RELEASES = dict(
    k400=Release(
        read_k400,
        dict(train=240000, val=20000),
        folders=dict(videos='videos_{split}', rawframes='rawframes_{split}'),
        vanishes=True,
        official_lists=True,
        class_file='k400_classes.txt',
    ))
