"""Predicting on a window that slides over a video."""
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from selfy_mmaction.apis.inference import VideoPredictor
from selfy_mmaction.apis.sliding import SlidingWindow, follow
from selfy_mmaction.apis.video import Video, write_video
from selfy_mmaction.engine import launch


@pytest.fixture(scope='module')
def predictor(published):
    config, checkpoint = published
    return VideoPredictor(launch.load_config(config, {}), checkpoint, 'cpu')


def test_windows_show_what_videos_of_their_own_show(predictor, turn, tmp_path):
    video = Video(str(turn))
    segments, frames, labels = [], [], []
    slide = SlidingWindow(predictor, video, 1, .75, topk=8)
    for frame, label in follow(video, slide, segments.append):
        frames.append(frame)
        labels.append(label)
    # the newest label, from the last frame of its window on
    first, second = segments[0].label, segments[1].label
    assert labels[:21] == 11 * [''] + 9 * [first] + [second]
    for segment in segments:
        start, end = round(12 * segment.start), round(12 * segment.end)
        write_video(tmp_path / 'cut.mp4', frames[start:end], 12)
        alone = predictor(str(tmp_path / 'cut.mp4'), topk=8)
        # decoded twice, and not by the same library
        scores = {p['name']: p['score'] for p in alone}
        for found in segment.predictions:
            assert found['score'] == pytest.approx(
                scores[found['name']], abs=.6)


def test_frames_of_a_long_video_are_let_go(predictor, turn):
    video = Video(str(turn))
    video.times = None  # as a camera
    slide = SlidingWindow(predictor, video, 4, 3)
    segments, frames, alive = [], [], []
    for i in range(300):
        frame = np.full((64, 64, 3), i % 256, np.uint8)
        segments += slide(frame)
        frames.append(weakref.ref(frame))
        alive.append(sum(ref() is not None for ref in frames))
    assert [s.end for s in segments] == [4, 7, 10, 13, 16, 19, 22, 25]
    # 8 frames each of two windows at most, and the last one
    assert max(alive) <= 17


@pytest.mark.parametrize('window, stride, expected', [
    (1, 1, [(0, 1, 6), (1, 2, 8), (2, 3, 12)]),
    (2, 1, [(0, 2, 14), (1, 3, 20)]),
    (9, 4, [(0, 3, 26)]),
])
def test_windows_last_as_long_as_their_frames(window, stride, expected):
    """6, 8 and 12 frames in three seconds: variable frame rate."""
    ends = [np.arange(n) / n + i for i, n in enumerate((6, 8, 12))]
    video = SimpleNamespace(times=np.append(np.concatenate(ends), 3), fps=9)
    asked = []

    class Counting:

        def sample(self, total_frames, fps):
            asked.append(total_frames)
            return dict(frame_inds=np.array([0, total_frames - 1]))

        def predict_frames(self, frames, sampled, topk):
            return [frame.item() for frame in frames]

    slide = SlidingWindow(Counting(), video, window, stride)
    segments = [s for i in range(26) for s in slide(np.array(i))]
    assert [(s.start, s.end) for s in segments
            ] == [pytest.approx((start, end)) for start, end, _ in expected]
    assert asked == [frames for *_, frames in expected]
    assert [b - a + 1 for a, b in (s.predictions for s in segments)] == asked
