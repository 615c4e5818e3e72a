"""Predicting on a window that slides over a video."""
import weakref

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
    video.total_frames = None  # as a camera
    slide = SlidingWindow(predictor, video, 4, 3)
    segments, frames, alive = [], [], []
    for i in range(300):
        frame = np.full((64, 64, 3), i % 256, np.uint8)
        segment = slide(frame)
        frames.append(weakref.ref(frame))
        alive.append(sum(ref() is not None for ref in frames))
        if segment:
            segments.append(segment)
    assert [s.end for s in segments] == [4, 7, 10, 13, 16, 19, 22, 25]
    # 8 frames each of two windows at most, and the last one
    assert max(alive) <= 17


def test_file_that_holds_less_than_it_says_has_a_window(predictor, turn):
    video = Video(str(turn))
    video.total_frames = 40
    slide = SlidingWindow(predictor, video, 60, 30)
    assert not any(map(slide, video))
    segment = slide.finish()
    assert segment.end == pytest.approx(34 / 12)
    assert len(segment.predictions) == 5
    assert slide.finish() is None

    video = Video(str(turn))
    video.total_frames = 4000
    slide = SlidingWindow(predictor, video, 400, 200)
    with pytest.raises(ValueError, match='turn.mp4 holds too few frames'):
        list(follow(video, slide, print))
