"""Names in any script, on charts and on frames."""
import numpy as np
import pytest
import torch
from matplotlib import font_manager
from mmaction.structures import ActionDataSample

from selfy_mmaction.apis.sliding import Segment
from selfy_mmaction.visualization import charts, fonts, frames

# Part of Matplotlib; the default has not all of its letters.
MONO = font_manager.findfont('DejaVu Sans Mono')


@pytest.fixture
def install(monkeypatch):
    """Let only these fonts be installed; returns the lines about boxes."""
    lines = []
    monkeypatch.setattr(fonts, 'print_log',
                        lambda line, *_: lines.append(line))

    def forget():
        for cached in fonts._find_font, fonts._fonts, fonts._warn_of_boxes:
            cached.cache_clear()

    def install(*paths):
        monkeypatch.setattr(font_manager, 'findSystemFonts', lambda: [*paths])
        forget()
        return lines

    yield install
    forget()


def draw(name, path):
    """A frame, a tested clip and a timeline with a name on it."""
    found = [dict(label=0, name=name, score=.5)]
    charts.draw_timeline([Segment(0, 1, found)], 'a.mp4', path)
    frame = frames.draw_label(np.zeros((64, 320, 3), np.uint8), name)
    sample = ActionDataSample().set_gt_label(0).set_pred_label(0)
    sample.set_pred_score(torch.ones(1))
    clip = frames.draw_clip(torch.zeros(1, 3, 64, 320), sample, [name])
    return frame.tobytes(), clip.tobytes(), path.read_bytes()


@pytest.mark.filterwarnings('error:Glyph')
def test_the_first_font_that_has_the_letters(install, tmp_path):
    broken = tmp_path / 'Regular.ttf'
    broken.write_text('no font')
    lines = install(str(broken), MONO)
    name = '\u2336\u2337, twice'
    assert fonts.find_font(name) == MONO
    assert fonts.find_font('\u00fcber \u03b8\u03ad\u03bb\u03c9') == (
        fonts.DEFAULT)
    drawn = draw(name, tmp_path / 'a.png')
    assert not lines
    # Where no font has them, boxes are drawn, and one line says so.
    install(str(broken))
    boxes = draw(name, tmp_path / 'a.png')
    assert all(x != y for x, y in zip(drawn, boxes, strict=True))
    draw('\u6325\u624b', tmp_path / 'a.png')
    assert len(lines) == 1 and 'fonts-noto-cjk' in lines[0]
    # the one that lacks fewest
    install(MONO)
    assert fonts.find_font('\u2336\u2337\u6325') == MONO
