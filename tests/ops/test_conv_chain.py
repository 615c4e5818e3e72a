"""Convolutions over many small maps against PyTorch's own layers."""
import copy

import pytest
import torch
from torch import nn

from selfy_mmaction.ops.conv_chain import Link, conv_chain

# kernel, stride and padding of each convolution, rows and columns apart
CHAINS = {
    'one': [((3, 3), (1, 1), (1, 1))],
    'official': [((3, 3), (1, 1), (1, 1)), ((3, 3), (2, 2), (1, 1)),
                 ((3, 3), (2, 2), (1, 1))],
    'uneven': [((3, 1), (2, 1), (0, 0)), ((1, 5), (1, 2), (0, 2)),
               ((2, 3), (1, 2), (1, 1))],
    'large': [((5, 7), (1, 1), (2, 3)), ((5, 9), (1, 1), (0, 0))],
}
CHANNELS = (2, 3, 4, 5)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def layers_of(chain, **kwargs):
    """Conv2d, BatchNorm2d and ReLU of each convolution."""
    layers = []
    for (kernel, stride, padding), inner, outer in zip(
            chain, CHANNELS, CHANNELS[1:], strict=False):
        norm = nn.BatchNorm2d(outer, **kwargs)
        nn.init.uniform_(norm.weight, -1, 1)
        nn.init.normal_(norm.bias)
        layers += [
            nn.Conv2d(inner, outer, kernel, stride, padding, bias=False), norm,
            nn.ReLU()
        ]
    return nn.Sequential(*layers).double()


def links_of(layers, height, width, as_matrix=False):
    """The same for `conv_chain`."""
    links, x = [], torch.zeros(1, CHANNELS[0], height, width).double()
    for conv, norm in zip(layers[::3], layers[1::3], strict=True):
        weight, (_, C, h, w) = conv.weight, x.shape
        if as_matrix:
            # what the convolution makes of each unit map, channels last
            units = torch.eye(h * w * C).double().view(-1, h, w, C)
            weight = conv(units.permute(0, 3, 1, 2))
            weight = weight.permute(0, 2, 3, 1).flatten(1)
        x = conv(x)
        links.append(
            Link(weight, norm, (h, w, C), (*x.shape[2:], x.shape[1]),
                 conv.stride, conv.padding))
    return links


def rows_of(maps):
    """[M, C, h, w] => [M, h * w * C]"""
    return maps.permute(0, 2, 3, 1).flatten(1)


def step(function, layers, maps, cotangent):
    """Output, every gradient and the statistics."""
    out = function(maps)
    grads = torch.autograd.grad(out, [maps, *layers.parameters()], cotangent)
    return [out, *grads, *layers.buffers()]


def check(layers, maps, as_matrix=False):
    plain = copy.deepcopy(layers)
    cotangent = torch.randn_like(rows_of(copy.deepcopy(layers)(maps)))

    def chain(maps):
        return conv_chain(
            rows_of(maps), links_of(layers, *maps.shape[2:], as_matrix))

    for _ in range(2):
        torch.testing.assert_close(
            step(chain, layers, maps, cotangent),
            step(lambda maps: rows_of(plain(maps)), plain, maps, cotangent))


@pytest.mark.parametrize('as_matrix', [False, True])
@pytest.mark.parametrize(
    'number',
    [
        2,
        7,
        1024,  # a chunk
        1025,  # and one map more
        2500,
    ])
@pytest.mark.parametrize('chain', CHAINS)
def test_equals_pytorchs_layers(chain, number, as_matrix):
    maps = torch.randn(number, CHANNELS[0], 5, 9).double().requires_grad_()
    check(layers_of(CHAINS[chain]), maps, as_matrix)


@pytest.mark.parametrize('kwargs', [
    dict(momentum=0.3, eps=0.1),
    dict(momentum=None),
    dict(track_running_stats=False),
])
def test_norms_of_all_kinds(kwargs):
    maps = torch.randn(7, CHANNELS[0], 5, 9).double().requires_grad_()
    check(layers_of(CHAINS['official'], **kwargs), maps)


def test_one_map_of_one_position():
    """Its variance is 0: the output of the norm is the bias."""
    layers = layers_of([((1, 1), (1, 1), (0, 0))])
    out = conv_chain(
        torch.randn(1, CHANNELS[0]).double(), links_of(layers, 1, 1))
    torch.testing.assert_close(out[0], layers[1].bias.relu())


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('autocast', [True, False])
def test_half_precision(dtype, autocast):
    """By autocast, or of maps and weights; the norms are float32."""
    layers = layers_of(CHAINS['official']).float()
    plain = copy.deepcopy(layers)
    maps = torch.randn(1500, CHANNELS[0], 5, 9, requires_grad=True)
    links = links_of(copy.deepcopy(layers).double(), 5, 9)
    links = [
        link._replace(weight=conv.weight, bn=norm) for link, conv, norm in zip(
            links, layers[::3], layers[1::3], strict=True)
    ]
    rows = rows_of(maps)
    if not autocast:
        rows = rows.to(dtype)
        links = [link._replace(weight=link.weight.to(dtype)) for link in links]
    with torch.autocast('cpu', dtype, enabled=autocast):
        out = conv_chain(rows, links)
    assert out.dtype == dtype
    expected = rows_of(plain(maps))
    error = (out.float() - expected).abs().mean()
    assert error < 0.02 * expected.abs().mean()
    out.float().square().mean().backward()
    for parameter in layers.parameters():
        assert torch.isfinite(parameter.grad).all() and parameter.grad.any()
    for ours, theirs in zip(layers.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0.02)
