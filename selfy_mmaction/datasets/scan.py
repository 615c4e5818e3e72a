"""Finding the clips of a data set that cannot be read, before a run."""
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait

import cv2
import numpy as np
from mmengine.dataset import BaseDataset

from ..containers import open_video
from .loading import BadClip, clip_name, guard, is_loader, refuse


def read_sample(dataset: BaseDataset, index: int) -> None:
    """Read a clip as the data set does."""
    dataset[index]


def read_whole(dataset: BaseDataset, index: int) -> None:
    """Read all frames of a clip, with the loaders of a data set."""
    loaders = [*filter(is_loader, dataset.pipeline.transforms)]
    if not loaders:
        return read_sample(dataset, index)
    info = dataset.get_data_info(index)
    for step in loaders:
        if 'total_frames' not in info:  # this step opens the video
            info = step(info)
            continue
        start = info['start_index']
        for i in range(start, start + info['total_frames']):
            step(dict(info, frame_inds=np.array([i])))
    if 'frame_dir' not in info:
        # A decoder reads a truncated WebM or Matroska file as a short video.
        # Its header has the true length, to within a few frames.
        header = open_video(clip_name(info))
        expected = header.get(cv2.CAP_PROP_FRAME_COUNT)
        if info['total_frames'] < 0.9 * expected:
            raise BadClip(f'ends after {info["total_frames"]} of '
                          f'{expected:.0f} frames')


def _serve(read: Callable, dataset: BaseDataset, pipe: Connection) -> None:
    """Read the clips that arrive in a pipe, and reply what is wrong."""
    # Messages of decoders would break the progress bar.
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    guard(dataset, refuse)
    while True:
        try:
            index = pipe.recv()
        except EOFError:
            return
        reply = None
        try:
            read(dataset, index)
        except BadClip as error:
            reply = str(error)
        except Exception as error:
            reply = RuntimeError(f'{clip_name(dataset.get_data_info(index))}: '
                                 f'{type(error).__name__}: {error}')
        pipe.send(reply)


class _Reader:
    """A process that reads clips; a bad clip may crash it."""

    def __init__(self, *args) -> None:
        self.args = args
        self.process = None

    def give(self, index: int, timeout: float) -> None:
        """Make it read a clip, for at most ``timeout`` seconds."""
        if self.process is None:
            self.pipe, theirs = multiprocessing.Pipe()
            self.process = multiprocessing.Process(
                target=_serve, args=(*self.args, theirs), daemon=True)
            self.process.start()
            # If it stayed open here, the death of the process would not show.
            theirs.close()
        self.index = index
        self.timeout = timeout
        self.deadline = time.monotonic() + timeout
        self.pipe.send(index)

    def take(self) -> str | None:
        """What is wrong with the clip, after a reply or the timeout."""
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


def scan(dataset: BaseDataset,
         indices: Sequence[int],
         read: Callable = read_whole,
         workers: int = 1,
         timeout: float = 120) -> Iterator[tuple[int, str | None]]:
    """Try to read clips in parallel.

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
    todo = iter(indices)
    readers = [_Reader(read, dataset) for _ in indices[:workers]]
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
                yield reader.index, reader.take()
                index = next(todo, None)
                if index is None:
                    busy.remove(reader)
                else:
                    reader.give(index, timeout)
    finally:
        for reader in readers:
            reader.stop()
