"""Videos: what is written is read."""
import numpy as np
import pytest

from selfy_mmaction.apis.video import Video, write_video


@pytest.mark.parametrize('ending', ['.mp4', '.webm', '.gif'])
def test_video_is_written_as_it_is(tmp_path, clips, ending, capfd):
    path = tmp_path / f'new/video{ending}'
    frames = clips['left0'][..., ::-1]
    write_video(path, iter(frames), 12)
    assert not any(capfd.readouterr())
    video = Video(str(path))
    written = list(video)
    assert video.fps == pytest.approx(12, abs=.6)
    assert len(written) == len(frames)
    # One frame earlier or later, the difference would be 30 or more.
    for a, b in zip(written, frames, strict=True):
        assert np.abs(a - b.astype(float)).mean() < 12
