"""The extraction modules against plain layers and loops."""
import pytest
import torch
from torch import nn

from selfy_mmaction.models import (
    SELFYBlock,
    STSSConvExtraction,
    STSSMLPExtraction,
    STSSSoftArgmaxExtraction,
)
from selfy_mmaction.ops import soft_argmax

EXTRACTIONS = [
    dict(type='STSSConvExtraction', channels=(2, 3, 4, 5)),
    dict(type='STSSMLPExtraction', channels=(6, 5)),
    dict(type='STSSSoftArgmaxExtraction'),
]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def awake_block(extraction, num_segments=3, **kwargs):
    block = SELFYBlock(
        8,
        num_segments,
        mid_channels=6,
        extraction=extraction,
        integration=dict(type='STSSConvIntegration', channels=(4, 5)),
        **kwargs)
    nn.init.ones_(block.residual_add.bn.weight)
    return block


def plain_convs(extraction, U):
    """The convolutions that the paper draws, as PyTorch's own layers."""
    sizes, layers = [(3, 1, 1)] + [(3, 2, 1)] * 2, []
    unflatten = nn.Unflatten(1, (1, U, U))
    for module in extraction.convs:
        conv = module.conv
        kernel, stride, padding = sizes.pop(0) if sizes else (U, 1, 0)
        layers += [
            nn.Conv2d(
                conv.in_channels,
                conv.out_channels,
                kernel,
                stride,
                padding,
                bias=False),
            nn.BatchNorm2d(conv.out_channels),
            nn.ReLU()
        ]
        U = (U + 2 * padding - kernel) // stride + 1
    return nn.Sequential(unflatten, *layers)


def plain_mlp(extraction, U):
    """The same of the MLP: matrices over the flattened window."""
    widths, layers = [U * U], []
    for module in extraction.convs:
        widths.append(module.conv.out_channels)
        layers += [
            nn.Linear(*widths[-2:], bias=False),
            nn.BatchNorm1d(widths[-1]),
            nn.ReLU()
        ]
    return nn.Sequential(*layers)


@pytest.mark.parametrize('U', [1, 3, 9, 15])
@pytest.mark.parametrize(
    'build, plain', [
        (lambda window: STSSConvExtraction(window, (2, 3, 4, 5)), plain_convs),
        (lambda window: STSSMLPExtraction(window, (6, 7, 5)), plain_mlp),
    ],
    ids=['convolutions', 'mlp'])
def test_equals_plain_layers(build, plain, U):
    """In training, with every gradient, and in evaluation."""
    extraction = build((3, U, U)).double()
    reference = plain(extraction, U).double()
    for ours, theirs in zip(
            extraction.parameters(), reference.parameters(), strict=True):
        nn.init.normal_(ours)
        theirs.data = ours.data.view(theirs.shape).clone()
    x = torch.rand(1, 2, 3, 4, 3, U, U).double().requires_grad_()
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


@pytest.mark.parametrize(
    'extraction', EXTRACTIONS[1:], ids=lambda e: e['type'])
def test_is_traced_and_recomputed_as_it_computes(extraction):
    """By torch.export for any number of clips, and by checkpointing."""
    block = awake_block(extraction, window=(3, 5, 7))
    x = torch.randn(6, 8, 6, 7).requires_grad_()
    grads = []
    for block.with_cp in False, True:
        block.train()
        grads.append(torch.autograd.grad(block(x).square().sum(), x)[0])
    torch.testing.assert_close(*grads)
    block.eval()
    clips = torch.export.Dim('clips', min=2, max=8)
    with torch.no_grad():
        program = torch.export.export(
            block, (x, ), dynamic_shapes=({
                0: 3 * clips
            }, ))
        x = torch.randn(12, 8, 6, 7)
        torch.testing.assert_close(program.module()(x), block(x))


@pytest.mark.parametrize('extraction', EXTRACTIONS, ids=lambda e: e['type'])
def test_a_block_with_it_starts_as_the_identity_and_learns(extraction):
    block = awake_block(extraction, window=(3, 5, 7))
    nn.init.zeros_(block.residual_add.bn.weight)
    x = torch.randn(6, 8, 9, 7).relu()
    assert torch.equal(block(x), x)
    nn.init.ones_(block.residual_add.bn.weight)
    out = block(x)
    (out * torch.randn_like(out)).sum().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


@pytest.mark.parametrize('extraction', EXTRACTIONS, ids=lambda e: e['type'])
@pytest.mark.parametrize('window, options', [
    ((1, 3, 3), dict(similarity='dot')),
    ((3, 1, 1), dict(temporal_padding='replicate')),
    ((5, 15, 15), dict(similarity='softmax')),
    ((9, 5, 9), dict()),
])
def test_a_block_with_any_window(extraction, window, options):
    block = awake_block(extraction, window=window, **options)
    out = block(torch.randn(6, 8, 5, 6).relu())
    out.square().sum().backward()
    assert torch.isfinite(out).all()
    grad = block.transformation.downsample.conv.weight.grad
    assert torch.isfinite(grad).all() and grad.any()


@pytest.mark.parametrize('extraction', EXTRACTIONS, ids=lambda e: e['type'])
def test_what_stands_beyond_the_clip(extraction):
    """A static clip has equal similarities in each frame if replicated."""
    still = torch.randn(1, 8, 6, 7).repeat(4, 1, 1, 1)
    kwargs = dict(extraction=extraction, num_segments=4, window=(3, 5, 5))
    padded = awake_block(**kwargs).eval()
    out = padded(still)
    torch.testing.assert_close(out[1], out[2])
    assert not torch.allclose(out[0], out[1])
    assert not torch.allclose(out[3], out[2])
    repeated = awake_block(**kwargs, temporal_padding='replicate').eval()
    repeated.load_state_dict(padded.state_dict())
    out = repeated(still)
    torch.testing.assert_close(out, out[:1].expand_as(out))


@pytest.mark.parametrize('extraction', EXTRACTIONS, ids=lambda e: e['type'])
@pytest.mark.parametrize('offsets', [(0, ), (1, ), (0, 1), (-1, 0, 1),
                                     (-2, 3)])
def test_a_frame_sees_those_at_its_offsets(extraction, offsets):
    block = awake_block(
        extraction,
        num_segments=6,
        window=(len(offsets), 5, 5),
        offsets=offsets).eval()
    for t in 0, 3, 5:
        x = torch.randn(6, 8, 6, 7).requires_grad_()
        block(x)[t].square().sum().backward()
        seen = {s for s in range(6) if x.grad[s].any()}
        assert seen == {t, *(t + offset for offset in offsets)} & {*range(6)}


@pytest.mark.parametrize('build, words', [
    (lambda: STSSMLPExtraction((5, 9, 9), ()), 'STSSMLPExtraction .* ()'),
    (lambda: STSSSoftArgmaxExtraction((5, 9, 9), 0), 'temperature .* got 0'),
])
def test_bad_arguments_are_named(build, words):
    with pytest.raises(ValueError, match=words):
        build()
