"""The benchmark of the kernels, with PyTorch's operators as kernels."""
import re
from types import SimpleNamespace

import kernels
import pytest
import speed
import torch
from stopwatch import Stopwatch

from selfy_mmaction.ops import stss_torch

CPU = torch.device('cpu')


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(kernels, 'PARITY', [(1, 3, 5, 4, 6)])
    monkeypatch.setattr(kernels, 'CLIPS', [(1, 2, 8, 4, 5)])
    monkeypatch.setattr(kernels, '_COPY_BYTES', 1000)


def tunable(error=0., gradient_error=0.):

    def products(*args, tile=16, warps=4):
        return stss_torch.products(*args) + error

    def products_backward(*args, tile=16, warps=4):
        return stss_torch.products_backward(*args) + gradient_error

    return SimpleNamespace(
        products=products, products_backward=products_backward)


def test_what_is_equal_passes():
    kernels.check_kernels(CPU, tunable())


@pytest.mark.parametrize('errors, what', [
    (dict(error=.1), 'the value'),
    (dict(gradient_error=1.), 'the gradient'),
])
def test_what_is_not_is_named(errors, what):
    with pytest.raises(ValueError, match=f'{what} of the kernels.*no speed'):
        kernels.check_kernels(CPU, tunable(**errors))


def test_positions_beyond_a_count_are_noticed():
    shape = (3, 2, 4, 5, 5)
    kernels.check_positions(CPU, tunable(), shape)

    def forgetful(x, *args):
        out = stss_torch.products(x, *args)
        out.flatten()[30000:] = 0
        return out

    wrong = SimpleNamespace(
        products=forgetful, products_backward=stss_torch.products_backward)
    with pytest.raises(ValueError, match='the value of the kernels at'):
        kernels.check_positions(CPU, wrong, shape)


def test_the_reference_counts(monkeypatch):
    monkeypatch.setattr(kernels, 'stss_einsum',
                        lambda *args: 2 * speed.stss_einsum(*args))
    with pytest.raises(ValueError, match='held to the reference'):
        kernels.check_kernels(CPU, tunable())


def test_rows():
    rows = kernels.time_kernels(Stopwatch(CPU, 1), tunable())
    # Two types, forward and backward, the default and the others
    assert len(rows) == 2 * 2 * (1 + len(kernels.TUNINGS))
    for _, measured, compared in rows:
        assert re.fullmatch(r'[\d.]+ [mu]s', measured)
        assert re.match(r'[\d.]+ x the (limit of the memory|default)',
                        compared)
