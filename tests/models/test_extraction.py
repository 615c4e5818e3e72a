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
from selfy_mmaction.ops import soft_argmax, stss

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


def plain_perceptrons(extraction, U):
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


@pytest.mark.parametrize('U', range(1, 16, 2))
@pytest.mark.parametrize('build, plain', [
    (lambda window: STSSConvExtraction(window, (2, 3, 4, 5)), plain_convs),
    (lambda window: STSSMLPExtraction(window, (6, 7, 5)), plain_perceptrons),
], ids=['convolutions', 'perceptrons'])
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
        torch.testing.assert_close(
            extraction(x), expected.view(actual.shape))


def soft_argmax_loop(similarities, inside, temperature):
    """Means over the offsets that exist, [U, V] each."""
    U, V = similarities.shape
    weights = [(u, v, torch.exp(similarities[u, v] / temperature))
               for u in range(U) for v in range(V) if inside[u, v]]
    total = sum(weight for *_, weight in weights)
    return torch.stack([
        sum(weight * (u - U // 2) for u, _, weight in weights) / total,
        sum(weight * (v - V // 2) for _, v, weight in weights) / total
    ])


@pytest.mark.parametrize('temperature', [0.01, 0.5])
def test_soft_argmax_is_the_mean_over_the_offsets_that_exist(temperature):
    H, W, (L, U, V) = 3, 4, (3, 5, 7)
    x = stss(torch.randn(1, 3, 2, H, W).double(), (L, U, V))
    out = STSSSoftArgmaxExtraction((L, U, V), temperature)(x)
    assert out.shape == (1, 3, H, W, L, 3)
    for h in range(H):
        for w in range(W):
            u, v = torch.arange(U) + h - U // 2, torch.arange(V) + w - V // 2
            inside = (((u >= 0) & (u < H))[:, None] & ((v >= 0) & (v < W)))
            expected = soft_argmax_loop(x[0, 1, h, w, 0], inside, temperature)
            torch.testing.assert_close(out[0, 1, h, w, 0, :2], expected)
            assert out[0, 1, h, w, 0, 2] == x[0, 1, h, w, 0].max()
    # Beyond the clip nothing moves, and with no confidence.
    torch.testing.assert_close(
        out[0, 0, :, :, 0], torch.zeros(H, W, 3).double())


def test_soft_argmax_finds_a_shift_at_every_position_that_stays():
    """Also at the sides, where a part of the window does not exist."""
    frame = torch.randn(32, 12, 14)
    clip = torch.stack([frame, frame.roll((2, -3), (1, 2))])
    displacement, confidence = soft_argmax(stss(clip[None], (3, 9, 9)))
    stays = displacement[0, 0, :10, 3:, 2]
    torch.testing.assert_close(
        stays, torch.tensor([2., -3.]).expand_as(stays), atol=1e-2, rtol=0)
    torch.testing.assert_close(
        confidence[0, 0, :10, 3:, 2], torch.ones(10, 11), atol=1e-4, rtol=0)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_soft_argmax_in_half_precision(dtype):
    similarities = torch.rand(4, 5, 7).to(dtype)
    displacement, confidence = soft_argmax(similarities)
    assert displacement.dtype == confidence.dtype == dtype
    expected, _ = soft_argmax(similarities.float())
    torch.testing.assert_close(
        displacement.float(), expected, atol=0.02, rtol=0.01)
    with torch.autocast('cpu', dtype):
        mixed, _ = soft_argmax(similarities.float())
    torch.testing.assert_close(mixed, expected)


@pytest.mark.parametrize('extraction', EXTRACTIONS[1:],
                         ids=lambda e: e['type'])
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
            block, (x, ), dynamic_shapes=({0: 3 * clips}, ))
        x = torch.randn(12, 8, 6, 7)
        torch.testing.assert_close(program.module()(x), block(x))


def test_soft_argmax_has_the_gradient_of_its_definition():
    x = torch.rand(2, 3, 5).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: soft_argmax(x, 0.3), x)


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
@pytest.mark.parametrize('U', range(1, 16, 2))
def test_a_block_with_any_window(extraction, U):
    """L from 1 to 9, the similarities and temporal paddings in turn."""
    for L in range(1, 10, 2):
        if L == U == 1:
            continue  # each position is compared with itself alone
        number = L // 2 + U // 2
        block = awake_block(
            extraction,
            window=(L, U, U),
            similarity=('cosine', 'dot')[number % 2],
            temporal_padding=('zeros', 'replicate')[number // 2 % 2])
        x = torch.randn(6, 8, 5, 6).relu()
        out = block(x)
        out.square().sum().backward()
        assert torch.isfinite(out).all()
        grad = block.transformation.downsample.conv.weight.grad
        assert torch.isfinite(grad).all() and grad.any()


@pytest.mark.parametrize('extraction', EXTRACTIONS, ids=lambda e: e['type'])
def test_what_stands_beyond_the_clip(extraction):
    """A still clip is the same in each frame if its ends are repeated."""
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
    (lambda: soft_argmax(torch.rand(3, 3), -1.0), 'temperature .* got -1.0'),
])
def test_bad_arguments_are_named(build, words):
    with pytest.raises(ValueError, match=words):
        build()
