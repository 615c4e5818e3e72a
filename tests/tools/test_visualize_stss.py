"""tools/visualize_stss.py with the published network."""
import re
import sys

import cv2
import pytest
import torch
from mmaction.registry import MODELS
from PIL import Image

from selfy_mmaction.engine import launch

NAME = 'selfy_tsm_r18_motion'


@pytest.fixture
def run(load_tool, published, pan, capsys, monkeypatch, tmp_path):
    """Run the tool on the clip and return its error and what it prints."""
    tool = load_tool('visualize_stss')
    monkeypatch.chdir(tmp_path)

    def run(*args, video=pan, network=published):
        argv = [tool.__file__, video, *network, '--device', 'cpu', *args]
        monkeypatch.setattr(sys, 'argv', list(map(str, argv)))
        error = None
        try:
            tool.main()
        except SystemExit as exit:
            error = exit.code
        return error, capsys.readouterr().out

    return run


def test_writes_pictures_pages_and_videos(run, tmp_path):
    error, out = run('--strongest', '2', '-o', 'sub/a.png')
    assert not error and 'Wrote sub/a.png.' in out
    assert len(
        re.findall(r'frame \d, row \d, column \d: the block adds', out)) == 2
    with Image.open(tmp_path / 'sub/a.png') as picture:
        assert min(picture.size) > 500
    error, _ = run('--position', '3', '1', '2', '-o', 'b.html')
    assert not error
    page = (tmp_path / 'b.html').read_text()
    assert page.count('data:image/webp;base64,') == 8
    assert 'max="7" value="3"' in page
    # nothing from elsewhere
    assert '//' not in re.sub(r'"data:[^"]*"', '', page)
    error, out = run('-o', 'c\x1b[2J.mp4')  # would clear the terminal
    assert not error and r'Wrote c\x1b[2J.mp4.' in out
    video = cv2.VideoCapture(str(tmp_path / 'c\x1b[2J.mp4'))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 8


def test_names_what_is_wrong(run, repo, tmp_path):
    for args, words in (
        (['-o', 'a.jpg'], 'a.jpg cannot be written: give it the ending .png'),
        (['--strongest', '0'], '--strongest 0: give 1 or more'),
        (['--position', '8', '0', '0'],
         r'position \(8, 0, 0\) is outside the map: give a frame from 0 to 7,'
         ' a row from 0 to 3 and a column from 0 to 3'),
        (['--position', '0', '0', '-1'], 'outside the map'),
        (['--layer', 'layer1'], "follows 'layer1': give one of layer2"),
        (['--view', '1'], 'view 1 of .* does not exist'),
    ):
        assert re.search(words, run(*args)[0]), args
    error, _ = run(video='nothing.mp4')
    assert 'video nothing.mp4 does not exist' in error
    # a network without a block
    moss = tmp_path / 'moss.py'
    moss.write_text(f'_base_ = "{repo}/configs/{NAME}.py"\n'
                    'model = dict(backbone=dict(selfy=dict('
                    "_delete_=True, type='MOSSBlock', mid_channels=8)))")
    for config in str(repo / 'configs/tsn_r18_motion.py'), str(moss):
        cfg = launch.load_config(config, {})
        plain = tmp_path / 'plain.pth'
        torch.save({'state_dict': MODELS.build(cfg.model).state_dict()}, plain)
        error, _ = run(network=(config, plain))
        assert 'has no SELFY block to look into' in error
