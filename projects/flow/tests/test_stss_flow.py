"""projects/flow/stss_flow.py."""
import shutil
import sys

import cv2
import numpy as np
import pytest

from selfy_mmaction.visualization.flow import flow_to_color


def test_video_and_picture(load_tool, monkeypatch, video_dir, tmp_path,
                           capsys):
    """The camera pans 12 pixels a frame, so what it films moves left."""
    monkeypatch.chdir(tmp_path)

    def run(*args, video=str(video_dir / 'right0.mp4')):
        args = '--fps', '12', '--short-side', '100', *args
        monkeypatch.setattr(sys, 'argv', ['stss_flow.py', video, *args])
        load_tool('projects/flow/stss_flow').main()

    run()
    assert 'right0_flow.mp4' in capsys.readouterr().out
    capture = cv2.VideoCapture(str(tmp_path / 'right0_flow.mp4'))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 16
    _, view = capture.read()
    assert view.shape == (100, 264, 3)
    name = '\x1b[2J.mp4'  # would clear the terminal
    shutil.copy(video_dir / 'right0.mp4', name)
    run(video=name)
    assert r'Wrote \x1b[2J_flow.mp4: ' in capsys.readouterr().out
    run('-o', 'new/flow.png')
    picture = cv2.imread(str(tmp_path / 'new/flow.png'))
    left = flow_to_color(np.array([[-12., 0.]]), 12)[0]
    for shown in view, picture:
        colors = cv2.cvtColor(shown[40:80, 180:230], cv2.COLOR_BGR2RGB)
        assert np.abs(np.median(colors, (0, 1)) - left).max() < 30


@pytest.mark.parametrize('args, words', [
    (('none.mp4', ), 'video none.mp4 does not exist.'),
    (('{video}', '-o', 'flow.txt'), 'flow.txt cannot be written'),
    (('{video}', '--fps', '0'), '--fps 0.0: give a positive number.'),
    (('{video}', '--fps', '0.1'), 'has one frame at 0.1 frames per second'),
    (('{video}', '--short-side', '9'), '--short-side 9: give 32 or more.'),
    (('{video}', '--weights', 'none.pth'), 'none.pth'),
    (('{text}', ), 'notes.txt is not a video: it begins with'),
])
def test_mistakes_are_one_line(run_tool, video_dir, args, words):
    args = [
        arg.format(
            video=video_dir / 'left0.mp4', text=video_dir / 'notes.txt')
        for arg in args
    ]
    message = run_tool('stss_flow', *args)
    assert words in message and '\n' not in message
