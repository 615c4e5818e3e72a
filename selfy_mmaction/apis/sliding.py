"""Predicting on a sliding window, while a video plays."""
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from .inference import Predictor
from .video import Video

# Seconds; times of frames that are equal may differ by rounding.
_EPSILON = 1e-6
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


class _Window(NamedTuple):
    """Consecutive frames of a video, from ``first`` to before ``stop``."""
    first: int
    stop: int
    start: float  # seconds
    end: float


def _windows(video: Video, window: float, stride: float) -> Iterator[_Window]:
    """The windows of a video, in the order of their starts.

    A window of a file has the frames that are shown in ``window`` seconds, and
    the last one ends with the file; all windows of a camera have as many.
    """
    times = video.times
    if times is None:
        length, step = (
            max(1, round(seconds * video.fps)) for seconds in (window, stride))
        for first in itertools.count(0, step):
            yield _Window(first, first + length, first / video.fps,
                          (first + length) / video.fps)
    # Sums of frame times round.
    last = max(0., times[-1] - window)
    starts = itertools.takewhile(lambda start: start < last - _EPSILON,
                                 (i * stride for i in itertools.count()))
    for start in itertools.chain(starts, [last]):
        first, stop = np.searchsorted(
            times, [start - _EPSILON, start + window - _EPSILON])
        first = min(first, len(times) - 2)
        stop = min(max(stop, first + 1), len(times) - 1)
        yield _Window(first, stop, times[first], times[stop])


class _Open(NamedTuple):
    """A window that has begun."""
    window: _Window
    sampled: dict  # see Predictor.sample
    frames: dict[int, np.ndarray | None]  # those to keep, by index


class SlidingWindow:
    """Predicts on a window that slides over frames as they arrive.

    It keeps only the frames that the test pipeline samples from the open
    windows: their number does not depend on the video's length.

    Args:
        predictor (Predictor): The predictor.
        video (Video): The video of the frames. The last window of a file ends
            with it, and no window is longer.
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
        self._windows = _windows(video, window, stride)
        self._next = next(self._windows)
        self._open = deque()
        self._index = 0

    def __call__(self, frame: np.ndarray) -> list[Segment]:
        """Take the next frame and predict on the windows that end with it.

        Args:
            frame (np.ndarray): RGB of type uint8, [H, W, 3].

        Returns:
            list[Segment]: The prediction for each of them.
        """
        while self._next and self._next.first <= self._index:
            self._begin(self._next)
            self._next = next(self._windows, None)
        for opened in self._open:
            if self._index in opened.frames:
                opened.frames[self._index] = frame
        self._index += 1
        segments = []
        while self._open and self._open[0].window.stop <= self._index:
            segments.append(self._predict(self._open.popleft()))
        return segments

    def _begin(self, window: _Window) -> None:
        sampled = self._predictor.sample(window.stop - window.first, self._fps)
        frames = dict.fromkeys(window.first + int(i)
                               for i in sampled['frame_inds'])
        self._open.append(_Open(window, sampled, frames))

    def _predict(self, opened: _Open) -> Segment:
        window, sampled, frames = opened
        predictions = self._predictor.predict_frames(
            [frames[window.first + int(i)] for i in sampled['frame_inds']],
            sampled, self._topk)
        return Segment(window.start, window.end, predictions)


def follow(video: Video, slide: SlidingWindow,
           report: Callable[[Segment], None]) -> Iterator[Frame]:
    """Predict while a video plays.

    Args:
        video (Video): The video.
        slide (SlidingWindow): The sliding window.
        report (Callable): Called with each segment as soon as it is known.

    Yields:
        tuple[np.ndarray, str]: Each frame, and the newest label.
    """
    label = ''
    for frame in video:
        for segment in slide(frame):
            report(segment)
            label = segment.label
        yield frame, label


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
    for frame, time in zip(video, video.times, strict=False):
        segment = segments[np.searchsorted(borders, time, 'right')]
        yield frame, segment.label
