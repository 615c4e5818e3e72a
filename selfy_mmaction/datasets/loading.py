"""Wrappers between a data set and its transforms.

They handle clips that cannot be read, and make random numbers independent of
which process reads a clip, and of what it has read before.
"""
import errno
import os.path as osp
import random
from collections.abc import Callable, Iterator
from typing import NoReturn

import cv2
import numpy as np
import torch
from mmengine.dataset import BaseDataset, Compose

from ..files import printable
from .video import VideoError

try:
    from decord import DECORDError
except ImportError:  # no wheel for this platform
    DECORDError = VideoError

# Errors of decoders for a broken file. Mistakes in a pipeline raise others.
_READ_ERRORS = (OSError, RuntimeError, VideoError, DECORDError, cv2.error)
# The machine's fault, not the file's.
_MACHINE_ERRORS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class BadClip(Exception):
    """Raised with the reason why a clip is bad."""


def refuse(name: str, reason: str) -> NoReturn:
    """Raise a BadClip."""
    raise BadClip(reason)


def base_datasets(dataset) -> Iterator[BaseDataset]:
    """Yield a data set, or those in a wrapper such as RepeatDataset."""
    if isinstance(dataset, BaseDataset):
        yield dataset
        return
    for inner in getattr(dataset, 'datasets', None) or [dataset.dataset]:
        yield from base_datasets(inner)


def clip_name(info: dict) -> str:
    """The file or the folder of a clip."""
    return info.get('frame_dir') or info.get('filename', '')


class GuardedLoader:
    """A transform that reads clips, with a callback for bad clips.

    Args:
        loader (Callable): The transform.
        on_bad (Callable): Called with the name of the clip and the reason;
            its result replaces the clip.
    """

    def __init__(self, loader: Callable, on_bad: Callable) -> None:
        self.loader = loader
        self.on_bad = on_bad

    def __call__(self, results: dict) -> dict | None:
        """Read the clip."""
        name = clip_name(results)
        try:
            return self.loader(results)
        except _READ_ERRORS as error:
            if getattr(error, 'errno', None) in _MACHINE_ERRORS:
                raise
            return self.on_bad(name, _explain(error, results))

    def __repr__(self) -> str:
        return repr(self.loader)


def _explain(error: Exception, results: dict) -> str:
    """Why a clip cannot be read, as text to follow its name."""
    name = clip_name(results)
    if not osp.exists(name):
        return 'does not exist'
    if isinstance(error, VideoError):
        return error.fault
    if isinstance(error, FileNotFoundError):
        return f'has no {osp.basename(error.filename)}'
    if isinstance(error, OSError) and error.strerror:
        return f'cannot be opened ({error.strerror})'
    frames = np.ravel(results.get('frame_inds', ()))
    place = f'at frame {frames[0]}' if len(frames) == 1 else 'as a video'
    return f'cannot be decoded {place}'


def is_loader(transform: Callable) -> bool:
    """Whether a transform reads files: DecordInit, RawFrameDecode, ..."""
    return (isinstance(transform, GuardedLoader)
            or type(transform).__name__.endswith(('Init', 'Decode')))


def guard(dataset, on_bad: Callable) -> None:
    """Make a data set call a function for the clips that it cannot read.

    Args:
        dataset (BaseDataset): The data set, or a wrapper around data sets.
        on_bad (Callable): See :class:`GuardedLoader`. If it returns None, a
            data set in training mode draws another clip.
    """
    for inner in base_datasets(dataset):
        inner.pipeline.transforms = [
            GuardedLoader(getattr(step, 'loader', step), on_bad)
            if is_loader(step) else step for step in inner.pipeline.transforms
        ]


class BadClips:
    """The bad clips that the processes of a training have found.

    They are shared in a file with lines ``name<TAB>reason``, since data
    loading processes cannot communicate otherwise. Control characters in a
    name are escaped as in a Python string.

    Args:
        path (str): The file, created with the first bad clip.
        total (int): Number of clips of the data set.
        max_share (float): The tolerated share of bad clips.
    """

    def __init__(self, path: str, total: int, max_share: float) -> None:
        self.path = path
        self.total = total
        self.max_share = max_share

    def read(self) -> dict[str, str]:
        """The names of the bad clips and the reasons."""
        if not osp.exists(self.path):
            return {}
        # A full disk may have cut a line.
        with open(self.path, encoding='utf-8', errors='replace') as file:
            return dict(
                line.rstrip('\n').split('\t', 1) for line in file
                if '\t' in line)

    def add(self, name: str, reason: str) -> None:
        """Add a clip, if it is new.

        Raises:
            OSError: If it cannot be written.
            ValueError: If there are too many bad clips.
        """
        name, reason = printable(name), printable(reason)
        if name not in self.read():
            try:
                with open(self.path, 'a', encoding='utf-8') as file:
                    file.write(f'{name}\t{reason}\n')
            except OSError as error:
                raise OSError(f'could not write {self.path}: '
                              f'{error.strerror}.') from error
        bad = self.read()
        if len(bad) > self.max_share * self.total:
            shown = [f'{name} {bad[name]}' for name in list(bad)[:10]]
            more = ', ...' if len(bad) > len(shown) else ''
            raise ValueError(
                f'{len(bad)} of {self.total} clips cannot be read, which is '
                f'more than default_hooks.bad_clips.max_share='
                f'{self.max_share}: {", ".join(shown)}{more} (all in '
                f'{self.path}). tools/check_data.py finds them ahead.')


class SeededPipeline:
    """A pipeline that draws the same numbers for a clip in the same epoch.

    They depend only on the seed, the epoch and the clip. So they are the same
    with any number of data loading processes and GPUs, and after a restart.

    Args:
        pipeline (Compose): The transforms.
        seed (int): The seed of the training.
    """

    def __init__(self, pipeline: Compose, seed: int) -> None:
        self.pipeline = pipeline
        self.seed = seed
        # Data loading processes may live longer than an epoch.
        self.epoch = torch.zeros((), dtype=torch.long).share_memory_()
        self._replaces = False

    def __call__(self, results: dict) -> dict | None:
        """Transform a clip, or the replacement of a bad one."""
        # Seeding again for the replacement would repeat a sample.
        if not self._replaces:
            np.random.seed(
                [self.seed,
                 self.epoch.item(), results['sample_idx']])
            random.seed(np.random.randint(2**31))
            torch.default_generator.manual_seed(np.random.randint(2**31))
        results = self.pipeline(results)
        self._replaces = results is None
        return results

    def __repr__(self) -> str:
        return repr(self.pipeline)
