"""projects/flow/stss_flow.py."""
import sys

import cv2
import numpy as np
import pytest

from selfy_mmaction.visualization.flow import flow_to_color


def test_video_and_picture(load_tool, monkeypatch, video_dir, tmp_path,
                           capsys):
    """The camera pans 12 pixels a frame, so what it films moves left."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        argv = ['stss_flow.py', str(video_dir / 'right0.mp4'), *args]
        monkeypatch.setattr(sys, 'argv', argv)
        load_tool('projects/flow/stss_flow').main()
        return capsys.readouterr()

    out, err = run('--fps', '12', '--short-side', '100')
    assert out.startswith('Wrote right0_flow.mp4: 16 frames, 12 a second')
    assert '16/16' in err  # the progress
    capture = cv2.VideoCapture(str(tmp_path / 'right0_flow.mp4'))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 16
    _, view = capture.read()
    assert view.shape == (100, 264, 3)
    name = 'new/\x1b[2J.png'  # would clear the terminal
    out, _ = run('-o', name, '--fps', '12', '--short-side', '100')
    assert r'Wrote new/\x1b[2J.png: ' in out
    left = flow_to_color(np.array([[-12., 0.]]), 12)[0]
    for shown in view, cv2.imread(name):
        colors = cv2.cvtColor(shown[40:80, 180:230], cv2.COLOR_BGR2RGB)
        assert np.abs(np.median(colors, (0, 1)) - left).max() < 30


@pytest.mark.parametrize('args, words', [
    (('none.mp4', ), 'video none.mp4 does not exist.'),
    (('{video}', '-o', 'flow.txt'), 'flow.txt cannot be written'),
    (('{video}', '--fps', '0'), '--fps 0.0: give a positive number.'),
    (('{video}', '--fps', '0.1'), 'has one frame at 0.1 frames per second'),
    (('{video}', '--short-side', '9'), '--short-side 9: give 32 or more.'),
    (('{video}', '--weights', 'none.pth'), 'none.pth'),
    (('{text}', ), 'notes.txt is not a video, or is damaged: it begins with'),
])
def test_mistakes_are_one_line(load_tool, monkeypatch, video_dir, args, words):
    files = dict(video=video_dir / 'left0.mp4', text=video_dir / 'notes.txt')
    monkeypatch.setattr(
        sys, 'argv', ['stss_flow.py', *(arg.format(**files) for arg in args)])
    with pytest.raises(SystemExit) as exit_info:
        load_tool('projects/flow/stss_flow').main()
    assert words in exit_info.value.code and '\n' not in exit_info.value.code
