"""The extraction modules against plain layers and loops."""
import pytest
import torch
from torch import nn

from selfy_mmaction.models import (
    STSSConvExtraction,
    STSSMLPExtraction,
    STSSSoftArgmaxExtraction,
)
from selfy_mmaction.ops import soft_argmax


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def plain_convs(extraction, *window):
    """The convolutions that the paper draws, as PyTorch's own layers."""
    layers, size = [nn.Unflatten(1, (1, *window))], window
    for i, module in enumerate(extraction.convs):
        # kernel, stride and padding
        options = 3, 1 if i == 0 else 2, 1
        if i == len(extraction.convs) - 1:
            options = size, 1, 0
        elif i:
            size = [(n + 1) // 2 for n in size]
        conv = module.conv
        layers += [
            nn.Conv2d(
                conv.in_channels, conv.out_channels, *options, bias=False),
            nn.BatchNorm2d(conv.out_channels),
            nn.ReLU()
        ]
    return nn.Sequential(*layers)


def plain_mlp(extraction, U, V):
    """The same of the MLP: matrices over the flattened window."""
    widths, layers = [U * V], []
    for module in extraction.convs:
        widths.append(module.conv.out_channels)
        layers += [
            nn.Linear(*widths[-2:], bias=False),
            nn.BatchNorm1d(widths[-1]),
            nn.ReLU()
        ]
    return nn.Sequential(*layers)


@pytest.mark.parametrize('window', [(1, 1), (9, 9), (9, 13), (15, 3)])
@pytest.mark.parametrize('extraction, channels, plain', [
    (STSSConvExtraction, (2, 3), plain_convs),
    (STSSConvExtraction, (2, 3, 4, 5), plain_convs),
    (STSSConvExtraction, (2, 2, 2, 2, 3), plain_convs),
    (STSSMLPExtraction, (6, 7, 5), plain_mlp),
])
def test_equals_plain_layers(extraction, channels, plain, window):
    """In training, with every gradient, and in evaluation."""
    extraction = extraction((3, *window), channels).double()
    reference = plain(extraction, *window).double()
    for ours, theirs in zip(
            extraction.parameters(), reference.parameters(), strict=True):
        nn.init.normal_(ours)
        theirs.data = ours.data.view(theirs.shape).clone()
    x = torch.rand(1, 2, 3, 4, 3, *window).double().requires_grad_()
    actual = extraction(x)
    expected = reference(x.flatten(0, 4).flatten(1)).view(actual.shape)
    torch.testing.assert_close(actual, expected)
    cotangent = torch.randn_like(actual)
    for ours, theirs in zip(
            torch.autograd.grad(actual, [x, *extraction.parameters()],
                                cotangent),
            torch.autograd.grad(expected, [x, *reference.parameters()],
                                cotangent),
            strict=True):
        torch.testing.assert_close(ours.view(theirs.shape), theirs)
    extraction.eval(), reference.eval()
    with torch.no_grad():
        expected = reference(x.flatten(0, 4).flatten(1))
        torch.testing.assert_close(extraction(x), expected.view(actual.shape))


def test_soft_argmax_gives_displacement_and_confidence():
    x = torch.rand(1, 2, 3, 4, 3, 5, 7)
    out = STSSSoftArgmaxExtraction((3, 5, 7), temperature=0.1)(x)
    displacement, confidence = soft_argmax(x, 0.1)
    assert torch.equal(out[..., :2], displacement)
    assert torch.equal(out[..., 2], confidence)


@pytest.mark.parametrize('extraction, argument, words', [
    (STSSConvExtraction, (4, ), 'STSSConvExtraction .* two .* \\(4,\\)'),
    (STSSMLPExtraction, (), 'STSSMLPExtraction .* \\(\\)'),
    (STSSSoftArgmaxExtraction, 0, 'temperature .* got 0'),
])
def test_bad_arguments_are_named(extraction, argument, words):
    with pytest.raises(ValueError, match=words):
        extraction((5, 9, 9), argument)
