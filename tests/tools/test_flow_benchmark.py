"""tools/flow_benchmark.py, on the photographs at an eighth of their size."""
import sys
from urllib.error import URLError

import pytest
import torch
from PIL import Image

from selfy_mmaction.analysis.stereo import COLUMNS, READINGS


def test_table_and_picture(load_tool, monkeypatch, tmp_path, capsys,
                           published):
    """Without network the row of ImageNet's weights says so."""

    def urlopen(*args, **kwargs):
        raise URLError('no network')

    monkeypatch.setattr(torch.hub, 'urlopen', urlopen)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', [
        'flow_benchmark.py', '--shrink', '8', '--weights', published[1],
        'torchvision://resnet18'
    ])
    load_tool('flow_benchmark').main()
    folder = tmp_path / 'work_dirs/flow_benchmark'
    table = (folder / 'table.md').read_text()
    assert table in capsys.readouterr().out
    head, _, *lines = (
        line.strip('| ').split(' | ')
        for line in table.split('\n\n')[0].splitlines())
    assert head == ['size', 'method', *COLUMNS]
    rows = {name: cells for size, name, *cells in lines if size == '92 x 62'}
    names = [
        f'{features}, {reading}'
        for features in ('random', 'selfy_tsm_r18_motion')
        for reading in READINGS
    ]
    assert list(rows) == [
        *names, 'torchvision://resnet18', 'Farneback', 'DIS', 'no motion'
    ]
    assert rows.pop('torchvision://resnet18')[0] == 'not run: no network'
    still = float(rows.pop('no motion')[0])
    for name, cells in rows.items():
        assert float(cells[0]) < 0.75 * still, name
    picture = Image.open(folder / 'flow.jpg')
    assert picture.width > 2 * picture.height > 400


@pytest.mark.parametrize('args, words', [
    (('--shrink', '9'), '--shrink 9: give 1 to 8.'),
    (('--shrink', '8', '--weights', 'none.pth'), 'none.pth does not exist.'),
])
def test_mistakes_are_one_line(run_tool, args, words):
    message = run_tool('flow_benchmark', *args)
    assert words in message and '\n' not in message
