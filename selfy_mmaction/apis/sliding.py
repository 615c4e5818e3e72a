"""Predicting on a sliding window, while a video plays."""
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from .inference import Predictor
from .video import Video

# RGB of type uint8, [H, W, 3], and its label
Frame = tuple[np.ndarray, str]


class Segment(NamedTuple):
    """The predictions for a part of a video."""
    start: float  # seconds
    end: float
    predictions: list[dict]  # see Predictor

    @property
    def label(self) -> str:
        """The best class and its probability."""
        best = self.predictions[0]
        return f'{best["name"]} {best["score"]:.0%}'


class SlidingWindow:
    """Predicts on a window that slides over frames as they arrive.

    It keeps only the frames that the test pipeline samples from the open
    windows: their number does not depend on the video's length.

    Args:
        predictor (Predictor): The predictor.
        video (Video): The video of the frames. If its length is known, the
            last window ends with it, and no window is longer.
        window (float): Length of the window in seconds.
        stride (float): Seconds from one window to the next.
        topk (int): How many classes to keep per window. Defaults to 5.
    """

    def __init__(self,
                 predictor: Predictor,
                 video: Video,
                 window: float,
                 stride: float,
                 topk: int = 5) -> None:
        self._predictor = predictor
        self._fps = video.fps
        self._topk = topk
        length = max(1, round(window * video.fps))
        step = max(1, round(stride * video.fps))
        if video.total_frames is None:
            self._starts = itertools.count(0, step)
        else:
            length = min(length, video.total_frames)
            last = video.total_frames - length
            self._starts = itertools.chain(range(0, last, step), [last])
        self._length = length
        self._sampled = predictor.sample(length, video.fps)
        # A frame may be sampled more than once, and in any order.
        wanted, self._order = np.unique(
            self._sampled['frame_inds'], return_inverse=True)
        self._wanted = set(wanted.tolist())
        self._windows = deque()
        self._next_start = next(self._starts)
        self._index = 0

    def __call__(self, frame: np.ndarray) -> Segment | None:
        """Take the next frame and predict if a window ends with it.

        Args:
            frame (np.ndarray): RGB of type uint8, [H, W, 3].

        Returns:
            Segment | None: The prediction for the window.
        """
        if self._index == self._next_start:
            self._windows.append((self._index, []))
            self._next_start = next(self._starts, None)
        for start, frames in self._windows:
            if self._index - start in self._wanted:
                frames.append(frame)
        self._index += 1
        if self._windows and self._index - self._windows[0][0] == self._length:
            return self._predict(*self._windows.popleft())
        return None

    def finish(self) -> Segment | None:
        """Predict on the frames so far, if no window was complete.

        A file may have fewer frames than its header says.
        """
        start, frames = self._windows.popleft() if self._windows else (0, [])
        if start > 0 or not frames:
            return None
        missing = len(self._wanted) - len(frames)
        return self._predict(start, frames + missing * frames[-1:])

    def _predict(self, start: int, frames: Sequence[np.ndarray]) -> Segment:
        predictions = self._predictor.predict_frames(
            [frames[i] for i in self._order], self._sampled, self._topk)
        return Segment(start / self._fps, self._index / self._fps, predictions)


def follow(video: Video, slide: SlidingWindow,
           report: Callable[[Segment], None]) -> Iterator[Frame]:
    """Predict while a video plays.

    Args:
        video (Video): The video.
        slide (SlidingWindow): The sliding window.
        report (Callable): Called with each segment as soon as it is known.

    Yields:
        tuple[np.ndarray, str]: Each frame, and the newest label.

    Raises:
        ValueError: If there are too few frames.
    """
    label = ''
    for frame in video:
        segment = slide(frame)
        if segment:
            report(segment)
            label = segment.label
        yield frame, label
    segment = slide.finish()
    if segment:
        report(segment)
    elif not label:
        raise ValueError(f'{video.source} holds too few frames that can be '
                         'decoded: it is damaged, or empty.')


def label_frames(video: Video, segments: Sequence[Segment]) -> Iterator[Frame]:
    """Give each frame the label of the segment whose middle is nearest.

    Args:
        video (Video): The video.
        segments (Sequence[Segment]): Its segments, in the order of time.

    Yields:
        tuple[np.ndarray, str]: Each frame, and its label.
    """
    middles = np.array([s.start + s.end for s in segments]) / 2
    borders = (middles[1:] + middles[:-1]) / 2
    for i, frame in enumerate(video):
        segment = segments[np.searchsorted(borders, i / video.fps, 'right')]
        yield frame, segment.label
