"""Batch norm and ReLU in chunks against PyTorch's own layers."""
import copy

import pytest
import torch
from torch import nn

from selfy_mmaction.ops.batch_norm import batch_norm_relu


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def norm_of(channels, **kwargs):
    norm = nn.BatchNorm2d(channels, **kwargs).double()
    nn.init.uniform_(norm.weight, -1, 1)
    nn.init.normal_(norm.bias)
    return norm


def maps_of(shape, channels_last=True):
    # far from zero, where sums of squares would cancel
    x = 3 * torch.randn(shape).double() + 50
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    return x.requires_grad_()


def check(norm, x, cotangent):
    """Two steps: outputs, every gradient and the statistics."""
    plain = copy.deepcopy(norm)
    for _ in range(2):
        actual, expected = batch_norm_relu(x, norm), plain(x).relu()
        torch.testing.assert_close(actual, expected)
        for ours, theirs in zip(
                torch.autograd.grad(actual, [x, *norm.parameters()],
                                    cotangent),
                torch.autograd.grad(expected, [x, *plain.parameters()],
                                    cotangent),
                strict=True):
            torch.testing.assert_close(ours, theirs)
    for ours, theirs in zip(norm.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize('kwargs', [
    {},
    dict(momentum=0.3, eps=0.1),
    dict(momentum=None),
    dict(track_running_stats=False),
])
@pytest.mark.parametrize('channels_last', [True, False])
@pytest.mark.parametrize('shape', [
    (3, 5, 7, 6),
    (2, 1, 1, 1),  # one value per map
    (1, 3, 1, 4),
    (5, 4, 100, 99),  # 49500 rows, of which a chunk has 32768
    (1, 7, 18725, 1),  # and one row more than a chunk has
])
def test_equals_pytorchs_layers(shape, channels_last, kwargs):
    norm, x = norm_of(shape[1], **kwargs), maps_of(shape, channels_last)
    check(norm, x, torch.randn_like(x))


def test_a_gradient_of_another_layout():
    x = maps_of((3, 5, 7, 6))
    cotangent = torch.randn(7, 6, 3, 5).double().permute(2, 3, 0, 1)
    check(norm_of(5), x, cotangent)


def test_gradcheck():
    norm, x = norm_of(2), maps_of((2, 2, 3, 1))
    assert torch.autograd.gradcheck(
        lambda x, *_: batch_norm_relu(x, norm), (x, *norm.parameters()))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    """It keeps the type and sums in float32, as PyTorch's layer does."""
    norm = norm_of(5).float()
    plain = copy.deepcopy(norm)
    x = torch.randn(3, 5, 70, 60).to(dtype).requires_grad_()
    out, expected = batch_norm_relu(x, norm), plain(x.float()).relu()
    assert out.dtype == dtype
    close = dict(rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(out.float(), expected, **close)
    cotangent = torch.randn_like(out)
    grad, *_ = torch.autograd.grad(out, x, cotangent)
    assert grad.dtype == dtype
    like, = torch.autograd.grad(expected, x, cotangent.float())
    torch.testing.assert_close(grad, like, **close)
    for ours, theirs in zip(norm.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_float32_where_channels_are_last():
    """There PyTorch's own layer is off by 6e-6 or more."""
    norm = norm_of(64)
    x = (torch.randn(8, 64, 28, 28) + 5).contiguous(
        memory_format=torch.channels_last)
    actual = batch_norm_relu(x, copy.deepcopy(norm).float())
    torch.testing.assert_close(
        actual.double(), norm(x.double()).relu(), rtol=0, atol=2e-6)
