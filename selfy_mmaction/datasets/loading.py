"""What stands between a data set and its transforms.

Clips that cannot be read, and random numbers that do not depend on which
process reads a clip, or on what it has read before.
"""
import errno
import os.path as osp
import random
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import torch
from decord import DECORDError
from mmengine.dataset import BaseDataset, Compose

from ..containers import find_fault
from ..files import printable

# What decoders raise for a broken file. Mistakes in a pipeline raise others.
_READ_ERRORS = (OSError, RuntimeError, DECORDError, cv2.error)
# The machine's fault, not the file's.
_MACHINE_ERRORS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


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
    """A transform that reads clips, told what to do where it cannot.

    Args:
        loader (Callable): The transform.
        on_bad (Callable): Called with the name of the clip and the reason;
            what it returns stands for the clip.
    """

    def __init__(self, loader: Callable, on_bad: Callable) -> None:
        self.loader = loader
        self.on_bad = on_bad

    def __call__(self, results: dict) -> dict | None:
        """Read the clip."""
        name = clip_name(results)
        try:
            # A video is known to have frames once it was opened.
            fault = None if 'total_frames' in results else find_fault(name)
            read = None if fault else self.loader(results)
        except _READ_ERRORS as error:
            if getattr(error, 'errno', None) in _MACHINE_ERRORS:
                raise
            return self.on_bad(name, _explain(error, results))
        if read and read.get('total_frames') == 0:
            fault = 'has no frames'
        return self.on_bad(name, fault) if fault else read

    def __repr__(self) -> str:
        return repr(self.loader)


def _explain(error: Exception, results: dict) -> str:
    """Why a clip cannot be read, as what follows its name."""
    name = clip_name(results)
    if not osp.exists(name):
        return 'does not exist'
    if isinstance(error, FileNotFoundError):
        return f'has no {osp.basename(error.filename)}'
    if isinstance(error, OSError) and error.strerror:
        return f'cannot be opened ({error.strerror})'
    frames = np.ravel(results.get('frame_inds', ()))
    return 'cannot be decoded' + (
        f' at frame {frames[0]}' if len(frames) == 1 else '')


def is_loader(transform: Callable) -> bool:
    """Whether a transform reads files: DecordInit, RawFrameDecode, ..."""
    return (isinstance(transform, GuardedLoader)
            or type(transform).__name__.endswith(('Init', 'Decode')))


def guard(dataset, on_bad: Callable) -> None:
    """Let a data set call a function for the clips that it cannot read.

    Args:
        dataset (BaseDataset): The data set, or a wrapper around some.
        on_bad (Callable): See :class:`GuardedLoader`. With None in place of a
            clip, a data set in training mode draws another one.
    """
    for inner in base_datasets(dataset):
        inner.pipeline.transforms = [
            GuardedLoader(getattr(step, 'loader', step), on_bad)
            if is_loader(step) else step for step in inner.pipeline.transforms
        ]


class BadClips:
    """The clips that the processes of a training found to be bad.

    They meet in a file, a line ``name<TAB>reason`` each: data loading
    processes have no other way to tell each other. Control characters in a
    name are written as in a Python string.

    Args:
        path (str): The file. It appears with the first bad clip.
        total (int): Number of clips of the data set.
        max_share (float): The share of bad clips that is tolerated.
    """

    def __init__(self, path: str, total: int, max_share: float) -> None:
        self.path = path
        self.total = total
        self.max_share = max_share

    def read(self) -> dict[str, str]:
        """The names and what is wrong with them."""
        if not osp.exists(self.path):
            return {}
        with open(self.path, encoding='utf-8') as file:
            return dict(line.rstrip('\n').split('\t', 1) for line in file)

    def add(self, name: str, reason: str) -> None:
        """Add a clip, if it is new.

        Raises:
            OSError: If it cannot be written.
            ValueError: If these are too many.
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

    They depend on the seed, the epoch and the clip. So they are the same with
    any number of data loading processes and of GPUs, and after a restart.

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
        """Transform the clip, or the one that replaces a bad one."""
        # To seed again would give the epoch the same sample twice.
        if not self._replaces:
            np.random.seed(
                [self.seed, self.epoch.item(), results['sample_idx']])
            random.seed(np.random.randint(2**31))
            torch.default_generator.manual_seed(np.random.randint(2**31))
        results = self.pipeline(results)
        self._replaces = results is None
        return results

    def __repr__(self) -> str:
        return repr(self.pipeline)
