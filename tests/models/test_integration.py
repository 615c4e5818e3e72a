"""The integration modules against plain layers."""
import pytest
import torch
from torch import nn

from selfy_mmaction.models import STSSConvIntegration

# The official design, the one without spatial context, only the fusion.
DESIGNS = [
    dict(channels=(4, 6, 5)),
    dict(channels=(4, 6, 5), kernel_size=1),
    dict(channels=(5, ), kernel_size=1),
]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def plain(channels, kernel, inner, L):
    """PyTorch's own layers: those for each offset, and the fusion."""
    layers = []
    for i, outer in enumerate(channels):
        fan_in = inner * L if i == len(channels) - 1 else inner
        layers.append(
            nn.Sequential(
                nn.Conv2d(fan_in, outer, kernel, 1, kernel // 2, bias=False),
                nn.BatchNorm2d(outer), nn.ReLU()))
        inner = outer
    *each, fuse = layers
    return nn.Sequential(nn.Sequential(*each), fuse)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('design', DESIGNS)
def test_equals_plain_layers(design, training):
    N, T, h, w, L, C = 2, 3, 4, 5, 3, 7
    integration = STSSConvIntegration(C, (L, 9, 9), **design).double()
    reference = plain(design['channels'], design.get('kernel_size', 3), C,
                      L).double()
    for ours, theirs in zip(
            integration.parameters(), reference.parameters(), strict=True):
        nn.init.normal_(ours)
        theirs.data = ours.data.clone()
    integration.train(training), reference.train(training)
    x = torch.randn(N, T, h, w, L, C).double()
    each, fuse = reference
    # [N, T, h, w, L, C] => [N * T * L, C, h, w] => [N * T, L * C, h, w]
    maps = each(x.permute(0, 1, 4, 5, 2, 3).reshape(-1, C, h, w))
    expected = fuse(maps.reshape(N * T, -1, h, w))
    actual = integration(x)
    assert actual.shape == (N * T, integration.out_channels, h, w)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize('design', DESIGNS)
def test_what_a_position_sees(design):
    """Its neighbours, unless the kernels cover one position."""
    integration = STSSConvIntegration(7, (3, 9, 9), **design).eval()
    x = torch.randn(1, 1, 9, 9, 3, 7).requires_grad_()
    integration(x)[0, :, 4, 4].sum().backward()
    # [h, w, L, C] => [h, w]
    seen = x.grad[0, 0].abs().sum((2, 3)) > 0
    reach = len(design['channels']) * (design.get('kernel_size', 3) // 2)
    expected = torch.zeros(9, 9, dtype=torch.bool)
    expected[4 - reach:5 + reach, 4 - reach:5 + reach] = True
    assert torch.equal(seen, expected)
    # and every offset
    assert x.grad[0, 0, 4, 4].any(1).all()


@pytest.mark.parametrize('options, words', [
    (dict(kernel_size=0), 'kernel_size .* 0'),
    (dict(kernel_size=2), 'kernel_size .* 2'),
    (dict(channels=()), 'at least one convolution'),
])
def test_bad_arguments_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        STSSConvIntegration(7, (3, 9, 9), **options)
