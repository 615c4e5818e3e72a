"""Finding the clips of a data set that cannot be read, before a run."""
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset

from ..containers import find_cut
from .loading import BadClip, clip_name, guard, is_loader, refuse


def read_sample(dataset: BaseDataset, index: int) -> None:
    """Read a clip as the data set does."""
    dataset[index]


def read_whole(dataset: BaseDataset, index: int) -> None:
    """Read all frames of a clip, with the loaders of a data set."""
    loaders = [*filter(is_loader, dataset.pipeline.transforms)]
    if loaders:
        read_frames(loaders, dataset.get_data_info(index))
    else:
        read_sample(dataset, index)


def read_frames(loaders: Sequence[Callable], info: dict) -> int:
    """Read all frames of a clip, one by one.

    Args:
        loaders (Sequence[Callable]): The transforms that read it.
        info (dict): What they are given.

    Returns:
        int: Their number.

    Raises:
        BadClip: If its file was cut short.
    """
    for step in loaders:
        if 'total_frames' not in info:  # this step opens the video
            info = step(info)
            continue
        start = info['start_index']
        for i in range(start, start + info['total_frames']):
            step(dict(info, frame_inds=np.array([i])))
    cut = find_cut(clip_name(info))
    if cut:
        raise BadClip(cut)
    return info['total_frames']


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


def _serve(read: Callable, pipe: Connection) -> None:
    """Read the clips that arrive in a pipe, and reply what was found."""
    # Messages of decoders would break the progress bar.
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    while True:
        try:
            clip = pipe.recv()
        except EOFError:
            return
        try:
            reply = read(clip)
        except BadClip as error:
            reply = str(error)
        except Exception as error:
            reply = error
        pipe.send(reply)


class _Reader:
    """A process that reads clips; a bad clip may crash it."""

    def __init__(self, read: Callable) -> None:
        self.read = read
        self.process = None

    def give(self, clip: Any, timeout: float) -> None:
        """Make it read a clip, for at most ``timeout`` seconds."""
        if self.process is None:
            self.pipe, theirs = multiprocessing.Pipe()
            self.process = multiprocessing.Process(
                target=_serve, args=(self.read, theirs), daemon=True)
            self.process.start()
            # If it stayed open here, the death of the process would not show.
            theirs.close()
        self.clip = clip
        self.timeout = timeout
        self.deadline = time.monotonic() + timeout
        self.pipe.send(clip)

    def take(self) -> Any:
        """What was found, after a reply or the timeout."""
        reply = f'takes longer than {self.timeout:g} s to read'
        if self.pipe.poll():
            try:
                reply = self.pipe.recv()
            except EOFError:
                reply = 'crashes the decoder'
            else:
                if isinstance(reply, Exception):
                    raise reply
                return reply
        self.stop()
        return reply

    def stop(self) -> None:
        """Kill the process."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.pipe.close()
            self.process = None


def read_all(read: Callable,
             clips: Sequence,
             workers: int = 1,
             timeout: float = 120) -> Iterator[tuple[Any, Any]]:
    """Read clips in parallel, in processes that they may crash.

    Args:
        read (Callable): Takes a clip. It returns what it finds, or raises
            `BadClip`.
        clips (Sequence): The clips, in any form.
        workers (int): Number of processes. Defaults to 1.
        timeout (float): Seconds per clip. Defaults to 120.

    Yields:
        tuple: Each clip, and what was found; if it is bad, the reason as text.

    Raises:
        Exception: If something other than a clip is wrong.
    """
    todo = iter(clips)
    readers = [_Reader(read) for _ in clips[:workers]]
    try:
        for reader in readers:
            reader.give(next(todo), timeout)
        busy = [*readers]
        while busy:
            deadline = min(reader.deadline for reader in busy)
            ready = wait([reader.pipe for reader in busy],
                         max(deadline - time.monotonic(), 0))
            now = time.monotonic()
            for reader in [*busy]:
                if reader.pipe not in ready and now < reader.deadline:
                    continue
                yield reader.clip, reader.take()
                clip = next(todo, None)
                if clip is None:
                    busy.remove(reader)
                else:
                    reader.give(clip, timeout)
    finally:
        for reader in readers:
            reader.stop()


def scan(dataset: BaseDataset,
         indices: Sequence[int],
         read: Callable = read_whole,
         workers: int = 1,
         timeout: float = 120) -> Iterator[tuple[int, str | None]]:
    """Try to read clips of a data set in parallel.

    A clip that crashes its process, takes too long or raises an error is bad.

    Args:
        dataset (BaseDataset): The data set.
        indices (Sequence[int]): The clips to read.
        read (Callable): `read_whole` or `read_sample`.
        workers (int): Number of processes. Defaults to 1.
        timeout (float): Seconds per clip. Defaults to 120.

    Yields:
        tuple[int, str | None]: The index of each clip, and what is wrong with
        it, None if it is sound.

    Raises:
        RuntimeError: If something other than a clip is wrong.
    """
    return read_all(
        partial(_read_clip, read, dataset), indices, workers, timeout)
