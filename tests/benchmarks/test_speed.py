"""The benchmark: it compares what is equal."""
import pytest
import speed
import torch
from stopwatch import Stopwatch

ONCE = Stopwatch(torch.device('cpu'), rounds=1)
pytestmark = pytest.mark.usefixtures('small_clip')


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


def test_the_operator_needs_less_memory():
    """Than what it replaces, on maps of 32 x 32."""
    rows = {
        row[0]: row[2]
        for row in speed._compare_op(ONCE, (1, 8, 8, 32, 32))
    }
    for what in 'forward', 'forward + backward':
        compared = rows[f'stss, {what}, [1, 8, 8, 32, 32], peak memory']
        assert float(compared.split(' x less')[0]) > 1.5
