"""The benchmark: what it prints, and that it compares what is equal."""
import re
import sys

import pytest
import torch

from selfy_mmaction.analysis import speed
from selfy_mmaction.analysis.stopwatch import Stopwatch, peak_bytes, show_time

ONCE = Stopwatch(torch.device('cpu'), rounds=1)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(speed, 'CLIP',
                        dict(frames=2, height=6, width=7, channels=8))
    monkeypatch.setattr(speed, 'FEATURES', [(1, 2, 8, 6, 7)])


def test_the_tool_prints_its_table_alone(load_tool, monkeypatch, capfd):
    """No output of the profiler, which bypasses Python's streams."""
    monkeypatch.setattr(sys, 'argv',
                        ['benchmark.py', 'block', '--rounds', '1'])
    load_tool('benchmark').main()
    out, err = capfd.readouterr()
    assert err == ''
    head, rule, *rows, empty, machine = out.splitlines()
    assert head == '| what | measured | compared |'
    assert rule == '| --- | --- | --- |'
    assert all(
        re.fullmatch(r'\| .+ \| [\d.]+ \w+.* \| .*\|', row) for row in rows)
    assert empty == '' and f'PyTorch {torch.__version__}' in machine


def test_the_block_has_a_baseline():
    """Both layouts, in evaluation, in training and what they keep."""
    names = [row[0] for row in speed.benchmark_block(ONCE)]
    for what in 'evaluation', 'training step', 'kept for backward':
        for layout in 'channels first', 'channels last':
            name = f"block of PyTorch's layers, {layout}, {what}"
            assert sum(row.startswith(name) for row in names) == 1


def test_no_speed_of_another_block(monkeypatch):
    monkeypatch.setattr('selfy_mmaction.models.conv.batch_norm_relu',
                        lambda x, bn: 1.01 * bn(x).relu())
    with pytest.raises(ValueError, match='the block differs .* no speed'):
        speed.benchmark_block(ONCE)


def test_no_speed_of_another_operator(monkeypatch):
    monkeypatch.setattr(speed, 'stss_einsum', lambda x: 1.01 * speed.stss(x))
    with pytest.raises(ValueError, match='stss, forward, differs .* no speed'):
        speed.benchmark_op(ONCE)


@pytest.mark.parametrize('seconds, text', [(1.234567, '1235 ms'),
                                           (0.0123456, '12.3 ms'),
                                           (0.00123456, '1.23 ms'),
                                           (0.000040321, '40.3 us')])
def test_times_have_three_digits(seconds, text):
    assert show_time(seconds) == text


def test_the_operator_needs_less_memory():
    """Than what it replaces, on maps of 32 x 32."""
    rows = {
        row[0]: row[2]
        for row in speed._compare_op(ONCE, (1, 8, 8, 32, 32))
    }
    for what in 'forward', 'forward + backward':
        compared = rows[f'stss, {what}, [1, 8, 8, 32, 32], peak memory']
        assert float(compared.split(' x less')[0]) > 1.5


def test_peak_of_memory():

    def function():
        kept = torch.ones(1000)  # 4000 bytes
        torch.ones(5000)  # 20000, freed before the next
        return kept + torch.ones(1000)

    assert 24000 <= peak_bytes(function, torch.device('cpu')) < 25000
