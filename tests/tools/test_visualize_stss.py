"""tools/visualize_stss.py with the published network."""
import re

import cv2
import pytest
from PIL import Image

from selfy_mmaction.engine import launch

NAME = 'selfy_tsm_r18_motion'


@pytest.fixture
def args(published, pan, monkeypatch, tmp_path):
    """The tool and the clip, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return ['visualize_stss', pan, *published, '--device', 'cpu']


def test_writes_pictures_pages_and_videos(call_tool, args, tmp_path):
    out = call_tool(*args, '--strongest', 2, '-o', 'sub/a.png')
    assert 'Wrote sub/a.png.' in out
    assert len(
        re.findall(r'frame \d, row \d, column \d: the block adds', out)) == 2
    with Image.open(tmp_path / 'sub/a.png') as picture:
        assert min(picture.size) > 500
    call_tool(*args, '--position', 3, 1, 2, '-o', 'b.html')
    page = (tmp_path / 'b.html').read_text()
    assert page.count('data:image/webp;base64,') == 8
    assert 'max="7" value="3"' in page
    # nothing from elsewhere
    assert '//' not in re.sub(r'"data:[^"]*"', '', page)
    name = 'c\x1b[2J.mp4'  # would clear the terminal
    assert r'Wrote c\x1b[2J.mp4.' in call_tool(*args, '-o', name)
    video = cv2.VideoCapture(str(tmp_path / name))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 8


def test_names_what_is_wrong(run_tool, args, repo, save_checkpoint, tmp_path):
    for *wrong, words in (
        ('-o', 'a.jpg', 'a.jpg cannot be written: give it the ending .png'),
        ('--strongest', 0, '--strongest 0: give 1 or more'),
        ('--position', 8, 0, 0,
         r'position \(8, 0, 0\) is outside the map: give a frame from 0 to 7,'
         ' a row from 0 to 3 and a column from 0 to 3'),
        ('--position', 0, 0, -1, 'outside the map'),
        ('--layer', 'layer1', "follows 'layer1': give one of layer2"),
        ('--view', 1, 'view 1 of .* does not exist'),
    ):
        assert re.search(words, run_tool(*args, *wrong))
    # networks without a block
    moss = tmp_path / 'moss.py'
    moss.write_text(f'_base_ = "{repo}/configs/{NAME}.py"\n'
                    'model = dict(backbone=dict(selfy=dict('
                    "_delete_=True, type='MOSSBlock', mid_channels=8)))")
    for config in repo / 'configs/tsn_r18_motion.py', moss:
        cfg = launch.load_config(str(config), {})
        plain = save_checkpoint(cfg, tmp_path / 'plain.pth')
        args[2:4] = config, plain
        assert 'has no SELFY block to look into' in run_tool(*args)
