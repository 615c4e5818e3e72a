"""Dumps: files with the predictions of a test, which other tools read.

A dump is a NumPy archive, without pickles, with the members in _MEMBERS.
"""
import math
import os.path as osp
import textwrap
import zipfile
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from ..files import check_archive_size, replaced_when_done

# Kinds of scores.
KINDS = ('probabilities', 'logits')
# Member -> kind of its dtype, number of axes
_MEMBERS = dict(
    scores=('f', 2),  # [N, K]
    kind=('U', 0),  # of the scores, one of KINDS
    labels=('i', 1),  # [N]
    names=('U', 1),  # [N], or [0] if they are unknown
    classes=('U', 1),  # [K], or [0] if they are unknown
    left_out=('i', 0))  # how many clips of the list could not be read


class Dump(NamedTuple):
    """The predictions of a test."""
    path: str
    scores: np.ndarray  # [N, K]
    kind: str  # of the scores, one of KINDS
    labels: np.ndarray  # [N]
    names: list[str]  # files without folder and ending; empty if unknown
    classes: list[str]  # empty if unknown

    @property
    def probabilities(self) -> np.ndarray:
        """The probabilities of the classes, [N, K]."""
        if self.kind == 'probabilities':
            return self.scores
        return torch.from_numpy(self.scores).softmax(-1).numpy()


def save_dump(path: str, samples: Sequence[dict], kind: str,
              classes: Sequence[str]) -> None:
    """Write the predictions of a test to a file.

    Args:
        path (str): The file.
        samples (Sequence[dict]): The ``scores`` [K] and the ``label`` of each
            and, where they are known, ``filename`` or ``frame_dir``, and
            ``left_out``.
        kind (str): Kind of the scores, one of :data:`KINDS`.
        classes (Sequence[str]): The names of the classes; not written unless
            there are as many as scores.
    """
    scores = np.stack([sample['scores'] for sample in samples])
    if len(classes) != scores.shape[1]:
        classes = []
    with replaced_when_done(path) as unfinished:
        np.savez(
            unfinished,
            scores=scores,
            kind=np.array(kind),
            labels=np.array([sample['label'] for sample in samples]),
            names=np.array(sample_names(samples), str),
            classes=np.array(classes, str),
            left_out=np.array(samples[0].get('left_out', 0)))


def sample_names(samples: Sequence[dict]) -> list[str]:
    """Names of the samples, independent of the data folder and the storage.

    They are relative to the samples' common folder, without a suffix. If one
    is unknown, the list is empty.
    """
    paths = [
        sample.get('frame_dir') or osp.splitext(sample.get('filename', ''))[0]
        for sample in samples
    ]
    if not all(paths):
        return []
    # A list may have absolute paths among others.
    paths = [osp.abspath(path) for path in paths]
    folder = osp.commonpath([osp.dirname(path) for path in paths])
    return [osp.relpath(path, folder) for path in paths]


def load_dump(path: str) -> Dump:
    """Read a file that ``tools/test.py --dump`` has written.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a dump, if its scores are not of the kind
            that it names, or if clips were left out.
    """
    if path.endswith(('.pkl', '.pickle')):
        raise ValueError(f'{path} is a pickle, which runs code when it is '
                         'read: write an .npz with tools/test.py CONFIG '
                         'CHECKPOINT --dump FILE.npz.')
    if not osp.isfile(path):
        raise FileNotFoundError(f'dump {path} does not exist.')
    try:
        _check_headers(path)
        with np.load(path, allow_pickle=False) as file:
            members = {name: file[name] for name in _MEMBERS}
        _check_values(**members)
        scores, kind, labels, names, classes, left_out = members.values()
        dump = Dump(path, scores, kind.item(), labels, names.tolist(),
                    classes.tolist())
    # The exception depends on how a file is broken.
    except Exception as error:
        reason = str(error).rstrip('.') or type(error).__name__
        reason = textwrap.shorten(reason, 200, placeholder=' ...')
        raise ValueError(f'{path} is not a dump ({reason}): give one that '
                         'tools/test.py --dump has written.') from error
    if left_out:
        raise ValueError(f'{path} lacks {left_out} clips that could not be '
                         'read: repair them, and test without --skip-bad.')
    if dump.kind == 'probabilities':
        _check_probabilities(dump)
    return dump


def _check_headers(path: str) -> None:
    """Raise unless an archive has the members of a dump, of valid sizes.

    NumPy allocates the size in a header before it reads the values.
    """
    check_archive_size(path)
    with zipfile.ZipFile(path) as archive:
        if sorted(archive.namelist()) != sorted(f'{name}.npy'
                                                for name in _MEMBERS):
            raise ValueError(f'its members are not {", ".join(_MEMBERS)}')
        for name, (kind, num_axes) in _MEMBERS.items():
            entry = archive.getinfo(f'{name}.npy')
            with archive.open(entry) as file:
                np.lib.format.read_magic(file)
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
                size = entry.file_size - file.tell()
            if dtype.kind != kind or len(shape) != num_axes:
                raise ValueError(f'{name} is {dtype} of shape {shape}')
            if dtype.itemsize * math.prod(shape) != size:
                raise ValueError(f'{name} has {size} bytes for shape {shape}')


def _check_values(scores: np.ndarray, kind: np.ndarray, labels: np.ndarray,
                  names: np.ndarray, classes: np.ndarray,
                  left_out: np.ndarray) -> None:
    """Raise unless the members of a dump fit each other."""
    if kind.item() not in KINDS:
        raise ValueError(f'its scores are {kind.item()!r}, which is none of '
                         f'{", ".join(KINDS)}')
    num_samples, num_classes = scores.shape
    if not scores.size or len(labels) != num_samples:
        raise ValueError(f'{len(labels)} labels for scores of shape '
                         f'{scores.shape}')
    if not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(f'labels from {labels.min()} to {labels.max()} for '
                         f'{num_classes} classes')
    if len(names) not in (0, num_samples):
        raise ValueError(f'{len(names)} names for {num_samples} samples')
    if len(classes) not in (0, num_classes):
        raise ValueError(f'{len(classes)} names for {num_classes} classes')
    if not np.isfinite(scores).all():
        raise ValueError('scores that are not finite')


def _check_probabilities(dump: Dump) -> None:
    """Raise unless the scores of each sample add up to 1."""
    # holds for half precision, too
    if dump.scores.min() < 0 or not np.allclose(
            dump.scores.sum(1), 1, atol=0.02):
        raise ValueError(f'{dump.path} holds scores that are no '
                         'probabilities: test with --cfg-options '
                         'model.cls_head.average_clips=score for logits, or '
                         '=prob.')
