"""The benchmarks at small sizes: what they print, and what they refuse."""
import re
import subprocess
import sys

import block
import measure
import network
import op
import pytest
import torch
from mmengine.config import Config

CPU = torch.device('cpu')


@pytest.fixture(autouse=True)
def small(monkeypatch, published):
    monkeypatch.setattr(block, 'FEATURES', (4, 8, 6, 7))
    monkeypatch.setattr(block, 'FRAMES', 2)
    monkeypatch.setattr(op, 'FEATURES', [(1, 2, 8, 6, 7)])
    model = Config.fromfile(published[0]).model
    monkeypatch.setattr(network, 'RECOGNIZER', model)
    monkeypatch.setattr(network, 'BACKBONE', model.backbone)
    monkeypatch.setattr(network, 'CLIP', (8, 3, 64, 64))


def test_the_tool_prints_its_table_alone(load_tool, monkeypatch, capfd,
                                         recwarn):
    """No output of the profiler, which bypasses Python's streams, and no
    warnings of the exporter."""
    monkeypatch.setattr(
        sys, 'argv', ['run.py', 'block', 'network', 'onnx', '--rounds', '1'])
    load_tool('benchmarks/run').main()
    out, err = capfd.readouterr()
    assert err == ''
    assert not recwarn.list
    head, rule, *rows, empty, machine = out.splitlines()
    assert head == '| what | how | time | relative | peak memory |'
    assert rule == '| --- | --- | --- | --- | --- |'
    assert len(rows) == 6 + 4 + 2
    for row in rows:
        assert re.fullmatch(
            r'\| .+ \| .+ \| ([\d.]+ ms)? \| ([\d.]+)? \| \d+ MB \|', row)
    assert empty == '' and f'PyTorch {torch.__version__}' in machine


def test_unknown_parts_are_named(load_tool, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['run.py', 'ops'])
    with pytest.raises(SystemExit, match='part ops is unknown: give some of'):
        load_tool('benchmarks/run').main()


def test_no_speed_of_another_operator(monkeypatch):
    assert len(op.benchmark(CPU, 1)) == 2 * 3
    monkeypatch.setattr(op, 'stss',
                        lambda x, **_: 1.01 * x.new_ones(1, 2, 6, 7, 5, 9, 9))
    with pytest.raises(ValueError, match='stss, forward, .* so no speed'):
        op.benchmark(CPU, 1)


def test_peak_of_memory():

    def function():
        kept = torch.ones(1000)  # 4000 bytes
        torch.ones(5000)  # 20000, freed before the next
        return kept + torch.ones(1000)

    assert 24000 <= measure.peak_bytes(function, CPU) < 25000


def test_the_script_for_a_gpu_runs(repo):
    """On a CPU, at small sizes, without MMAction2's networks."""
    out = subprocess.run([
        sys.executable, 'benchmarks/gpu.py', '--device', 'cpu', '--small',
        '--no-tests'
    ],
                         cwd=repo,
                         check=True,
                         capture_output=True,
                         text=True).stdout
    for type_ in 'float32', 'bfloat16', 'float16':
        assert f'| stss, forward + backward, {type_} [1, 2, 8, 6, 7]' in out
    assert 'with the block' in out and 'losses after 1, 10 and 10' in out
