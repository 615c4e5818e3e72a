"""Clips that cannot be read: finding them, and what a run does about them."""
import errno
import os.path as osp
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import cv2
import numpy as np
from mmengine.dataset import BaseDataset

from ..files import printable
from .video import VideoError, VideoFile

try:
    from decord import DECORDError
except ImportError:  # no wheel for this platform
    DECORDError = VideoError

# Errors of decoders for a broken file. Mistakes in a pipeline raise others.
_READ_ERRORS = (OSError, RuntimeError, VideoError, DECORDError, cv2.error)
# The machine's fault, not the file's.
_MACHINE_ERRORS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
# In Matroska and WebM: the element that holds the frames, and its size. The
# first byte of the size says how many follow.
_SEGMENT = re.compile(rb'\x1aE\xdf\xa3.*?\x18\x53\x80\x67(.{8})', re.DOTALL)


class BadClip(Exception):
    """Raised with the reason why a clip is bad."""


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


def catch_bad_clips(dataset, on_bad: Callable) -> None:
    """Make a data set call a function for the clips that it cannot read.

    Args:
        dataset (BaseDataset): The data set, or a wrapper around data sets.
        on_bad (Callable): Called with the name of the clip and the reason;
            its result replaces the clip. If that is None, a data set in
            training mode draws another clip.
    """
    for inner in base_datasets(dataset):
        inner.pipeline.transforms = [
            _CatchingLoader(getattr(step, 'loader', step), on_bad)
            if _is_loader(step) else step for step in inner.pipeline.transforms
        ]


class _CatchingLoader:
    """A transform that reads clips, with a callback for bad clips."""

    def __init__(self, loader: Callable, on_bad: Callable) -> None:
        self.loader = loader
        self.on_bad = on_bad

    def __call__(self, results: dict) -> dict | None:
        name = clip_name(results)
        try:
            return self.loader(results)
        except _READ_ERRORS as error:
            if getattr(error, 'errno', None) in _MACHINE_ERRORS:
                raise
            return self.on_bad(name, _explain(error, results))

    def __repr__(self) -> str:
        return repr(self.loader)


def _is_loader(transform: Callable) -> bool:
    """Whether a transform reads files: DecordInit, RawFrameDecode, ..."""
    return (isinstance(transform, _CatchingLoader)
            or type(transform).__name__.endswith(('Init', 'Decode')))


def _explain(error: Exception, results: dict) -> str:
    """Why a clip cannot be read, as text to follow its name."""
    if not osp.exists(clip_name(results)):
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


def read_whole(dataset: BaseDataset, index: int) -> None:
    """Read all frames of a clip, one by one, with the loaders of a data set.

    Raises:
        BadClip: If its file was cut short.
    """
    info = dataset.get_data_info(index)
    loaders = [*filter(_is_loader, dataset.pipeline.transforms)]
    if not loaders:
        dataset[index]
    for step in loaders:
        if 'total_frames' not in info:  # this step opens the video
            info = step(info)
            continue
        video = info.get('video_reader')
        if isinstance(video, VideoFile):
            deque(read_video(video), maxlen=0)
            return
        start = info['start_index']
        for i in range(start, start + info['total_frames']):
            step(dict(info, frame_inds=np.array([i])))


def read_video(video: VideoFile) -> Iterator[np.ndarray]:
    """Yield all frames of a video, RGB of type uint8, [H, W, 3].

    Raises:
        BadClip: If one cannot be decoded, or the file was cut short.
    """
    try:
        with video:
            yield from video
    except VideoError as error:
        raise BadClip(error.fault) from error
    _check_length(video.path)


def _check_length(path: str) -> None:
    """Raise a BadClip if a Matroska or WebM file was cut short.

    A decoder reads such a file as a shorter video. Its header has the number
    of bytes that it had, unless it was written without an end, as a stream.
    """
    with open(path, 'rb') as file:
        segment = _SEGMENT.match(file.read(4096))
    if not segment:
        return
    length = 9 - segment[1][0].bit_length()
    unknown = (1 << 7 * length) - 1
    number = int.from_bytes(segment[1][:length], 'big') & unknown
    size, expected = osp.getsize(path), segment.start(1) + length + number
    if number != unknown and size < expected:
        raise BadClip(f'ends after {size} of {expected} bytes')


def find_bad_clips(dataset: BaseDataset,
                   indices: Sequence[int],
                   read: Callable = read_whole,
                   workers: int = 1) -> Iterator[tuple[int, str | None]]:
    """Try to read clips of a data set in parallel.

    Args:
        dataset (BaseDataset): The data set.
        indices (Sequence[int]): The clips to read.
        read (Callable): Takes the data set and an index. Defaults to
            `read_whole`.
        workers (int): Number of processes. Defaults to 1.

    Yields:
        tuple[int, str | None]: The index of each clip, and what is wrong with
        it, None if it is sound.

    Raises:
        RuntimeError: If something other than a clip is wrong.
    """
    return read_parallel(partial(_read_clip, read, dataset), indices, workers)


def _read_clip(read: Callable, dataset: BaseDataset, index: int) -> None:
    """Read a clip in a process of its own, with its copy of the data set."""
    catch_bad_clips(dataset, _raise)
    try:
        read(dataset, index)
    except BadClip:
        raise
    except Exception as error:
        raise RuntimeError(f'{clip_name(dataset.get_data_info(index))}: '
                           f'{type(error).__name__}: {error}') from error


def _raise(name: str, reason: str) -> None:
    raise BadClip(reason)


def read_parallel(read: Callable,
                  clips: Sequence,
                  workers: int = 1) -> Iterator[tuple[Any, Any]]:
    """Read clips in parallel processes.

    Args:
        read (Callable): Takes a clip. It returns what it finds, or raises
            `BadClip`.
        clips (Sequence): The clips, in any form.
        workers (int): Number of processes. Defaults to 1.

    Yields:
        tuple: Each clip, and what was found; if it is bad, the reason as text.

    Raises:
        Exception: If something other than a clip is wrong.
    """
    pool = ProcessPoolExecutor(
        workers, initializer=setattr, initargs=(_reply, 'read', read))
    try:
        yield from zip(
            clips,
            pool.map(_reply, clips, chunksize=1 + len(clips) // 1000),
            strict=True)
    finally:
        pool.shutdown(cancel_futures=True)


def _reply(clip: Any) -> Any:
    """What the function of this process finds, or why a clip is bad."""
    try:
        return _reply.read(clip)
    except BadClip as error:
        return str(error)
