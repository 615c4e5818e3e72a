"""Finding the clips of a data set that cannot be read, before a run."""
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset

from .loading import BadClip, clip_name, guard, is_loader, refuse
from .video import VideoError, VideoFile

# In Matroska and WebM: the element that holds the frames, and its size. The
# first byte of the size says how many follow.
_SEGMENT = re.compile(rb'\x1aE\xdf\xa3.*?\x18\x53\x80\x67(.{8})', re.DOTALL)


def find_cut(path: str) -> str | None:
    """Find out whether a Matroska or WebM file was cut short.

    A decoder reads such a file as a shorter video. Its header has the number
    of bytes that it had, unless it was written without an end, as a stream.

    Args:
        path (str): The file.

    Returns:
        str | None: What follows its name in a message; None if it is whole.
    """
    with open(path, 'rb') as file:
        segment = _SEGMENT.match(file.read(4096))
    if not segment:
        return None
    length = 9 - segment[1][0].bit_length()
    unknown = (1 << 7 * length) - 1
    number = int.from_bytes(segment[1][:length], 'big') & unknown
    size, expected = os.path.getsize(path), segment.start(1) + length + number
    if number == unknown or size >= expected:
        return None
    return f'ends after {size} of {expected} bytes'


def read_sample(dataset: BaseDataset, index: int) -> None:
    """Read a clip as the data set does."""
    dataset[index]


def read_whole(dataset: BaseDataset, index: int) -> None:
    """Read all frames of a clip, one by one, with the loaders of a data set.

    Raises:
        BadClip: If its file was cut short.
    """
    info = dataset.get_data_info(index)
    loaders = [*filter(is_loader, dataset.pipeline.transforms)]
    if not loaders:
        read_sample(dataset, index)
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
    cut = find_cut(video.path)
    if cut:
        raise BadClip(cut)


def _read_clip(read: Callable, dataset: BaseDataset, index: int) -> None:
    """Read a clip in a process of its own, with its copy of the data set."""
    guard(dataset, refuse)
    try:
        read(dataset, index)
    except BadClip:
        raise
    except Exception as error:
        raise RuntimeError(f'{clip_name(dataset.get_data_info(index))}: '
                           f'{type(error).__name__}: {error}') from error


def _start(read: Callable) -> None:
    """Keep in a process what it reads with."""
    _reply.read = read


def _reply(clip: Any) -> Any:
    try:
        return _reply.read(clip)
    except BadClip as error:
        return str(error)


def read_all(read: Callable,
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
    pool = ProcessPoolExecutor(workers, initializer=_start, initargs=(read, ))
    try:
        yield from zip(
            clips,
            pool.map(_reply, clips, chunksize=1 + len(clips) // 1000),
            strict=True)
    finally:
        pool.shutdown(cancel_futures=True)


def scan(dataset: BaseDataset,
         indices: Sequence[int],
         read: Callable = read_whole,
         workers: int = 1) -> Iterator[tuple[int, str | None]]:
    """Try to read clips of a data set in parallel.

    Args:
        dataset (BaseDataset): The data set.
        indices (Sequence[int]): The clips to read.
        read (Callable): `read_whole` or `read_sample`.
        workers (int): Number of processes. Defaults to 1.

    Yields:
        tuple[int, str | None]: The index of each clip, and what is wrong with
        it, None if it is sound.

    Raises:
        RuntimeError: If something other than a clip is wrong.
    """
    return read_all(partial(_read_clip, read, dataset), indices, workers)
