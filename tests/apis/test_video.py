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
    times = np.append(np.cumsum([0, *(len(frames) // 2 * [.05, .2])]), 4)
    write_video(path, frames, 12, times)
    np.testing.assert_allclose(Video(str(path)).times[:-1], times[:-1])
    # One frame earlier or later, the difference would be 30 or more.
    for a, b in zip(written, frames, strict=True):
        assert np.abs(a - b.astype(float)).mean() < 12


@pytest.mark.parametrize('ending', ['.mp4', '.gif'])
def test_an_interruption_keeps_the_frames_before_it(tmp_path, clips, ending):

    def frames():
        yield from clips['left0'][:9]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / f'cut{ending}', frames(), 12)
    assert len(list(Video(str(tmp_path / f'cut{ending}')))) == 9
