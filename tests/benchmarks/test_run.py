"""benchmarks/run.py at small sizes: what it prints."""
import re
import sys

import pytest
import speed
import torch
from mmengine.config import Config
from stopwatch import Stopwatch

pytestmark = pytest.mark.usefixtures('small_clip')


@pytest.mark.parametrize('part', ['block', 'deployed'])
def test_the_tool_prints_its_table_alone(part, load_tool, published,
                                         monkeypatch, capfd, recwarn):
    """No output of the profiler, which bypasses Python's streams, and no
    warnings of the exporter."""
    monkeypatch.setattr(speed, 'DEPLOYED', Config.fromfile(published[0]).model)
    monkeypatch.setattr(sys, 'argv', ['benchmark.py', part, '--rounds', '1'])
    load_tool('benchmarks/run').main()
    out, err = capfd.readouterr()
    assert err == ''
    assert not recwarn.list
    head, rule, *rows, empty, machine = out.splitlines()
    assert head == '| what | measured | compared |'
    assert rule == '| --- | --- | --- |'
    assert all(
        re.fullmatch(r'\| .+ \| [\d.]+ \w+.* \| .*\|', row) for row in rows)
    assert empty == '' and f'PyTorch {torch.__version__}' in machine


def test_a_cpu_has_no_rows_of_kernels(load_tool, monkeypatch, capsys):
    monkeypatch.setitem(speed.PARTS, 'op', lambda watch: [['op', '', '']])
    for part in 'growth', 'network', 'deployed':
        monkeypatch.delitem(speed.PARTS, part)
    monkeypatch.setattr(sys, 'argv',
                        ['benchmark.py', '--device', 'cpu', '--rounds', '1'])
    load_tool('benchmarks/run').main()
    assert '| op |' in capsys.readouterr().out
    with pytest.raises(ValueError, match='need Triton and a CUDA device'):
        speed.PARTS['kernels'](Stopwatch(torch.device('cpu'), 1))
