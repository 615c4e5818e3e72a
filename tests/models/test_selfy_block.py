"""The block against the official one, whose numbers are in tests/data."""
import json

import numpy as np
import pytest
import torch
from official import DATA, official_tensor, standard_normal
from torch import nn

from selfy_mmaction.models import SELFYBlock, STSSConvExtraction
from selfy_mmaction.models.convert import convert_official_state_dict

GOLDEN = np.load(DATA / 'golden_block.npz')
CASES = ('small', 'wide')
PREFIX = 'backbone.selfy.layer2.'


def golden(name):
    return torch.from_numpy(GOLDEN[name])


def converted(named):
    """Official names inside the block to those of our block."""
    state_dict = convert_official_state_dict({
        f'module.base_model.selfy.{key}':
        x
        for key, x in named.items()
    })
    return {key.removeprefix(PREFIX): x for key, x in state_dict.items()}


def golden_group(case, group):
    start = f'{case}/{group}.'
    return converted({
        key.removeprefix(start): golden(key)
        for key in GOLDEN if key.startswith(start)
    })


def official_block(case, device):
    """A block with the weights, and the input, of a golden case."""
    meta = json.loads(str(GOLDEN[f'{case}/meta']))
    block = SELFYBlock(
        meta['d_in'],
        meta['T'],
        meta['d_hid'],
        extraction=dict(type='STSSConvExtraction', channels=meta['ext']),
        integration=dict(type='STSSConvIntegration', channels=meta['integ']))
    names = [
        key.split('.', 1)[1] for key in GOLDEN
        if key.startswith((f'{case}/grad.', f'{case}/buffer.'))
    ]
    shapes = {
        key.split('.', 1)[1]: GOLDEN[key].shape
        for key in GOLDEN if '.' in key and key.startswith(case)
    }
    block.load_state_dict(
        converted({
            name: official_tensor(f'selfy.{name}', shapes[name])
            for name in names
        }))
    shape = GOLDEN[f'{case}/eval'].shape
    return block.to(device), *(
        x.to(device) for x in standard_normal(meta['seed'], shape, shape))


def assert_close(actual, expected):
    """Relative to the tensor's scale, which float32 sums are exact to."""
    scale = max(1, expected.abs().max().item())
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize('case', CASES)
def test_similarities_are_the_official_ones(device, case):
    block, x, _ = official_block(case, device)
    with torch.no_grad():
        actual = block.eval().transformation(x).cpu()
    # the official layout has a channel axis
    torch.testing.assert_close(
        actual, golden(f'{case}/stss').squeeze(4), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('case', CASES)
def test_evaluation_is_the_official_one(device, case):
    block, x, _ = official_block(case, device)
    with torch.no_grad():
        actual = block.eval()(x).cpu()
    torch.testing.assert_close(
        actual, golden(f'{case}/eval'), rtol=1e-4, atol=1e-5)


def assert_same_norm(actual, expected):
    """Relative to the tensor's norm.

    Float32 gradients, the golden ones too, are good to 1e-5 of the largest
    element; which elements are off depends on processor and threads.
    """
    assert (actual - expected).norm() <= 1e-4 * expected.norm()


@pytest.mark.parametrize('with_cp', [False, True])
@pytest.mark.parametrize('dtype, assert_gradient', [
    (torch.float64, assert_close),
    (torch.float32, assert_same_norm),
])
@pytest.mark.parametrize('case', CASES)
def test_training_is_the_official_one(device, case, dtype, assert_gradient,
                                      with_cp):
    """Forward, every gradient and every running statistic."""
    block, x, cotangent = official_block(case, device)
    block.to(dtype).train().with_cp = with_cp
    x = x.to(dtype).requires_grad_()
    out = block(x)
    out.backward(cotangent.to(dtype))
    assert_close(out.detach().float().cpu(), golden(f'{case}/train'))
    assert_gradient(x.grad.float().cpu(), golden(f'{case}/grad_x'))
    block.cpu()
    gradients = golden_group(case, 'grad')
    assert gradients.keys() == dict(block.named_parameters()).keys()
    for name, expected in gradients.items():
        assert_gradient(block.get_parameter(name).grad.float(), expected)
    buffers = golden_group(case, 'buffer')
    assert buffers.keys() == dict(block.named_buffers()).keys()
    for name, expected in buffers.items():
        actual = block.get_buffer(name)
        if actual.is_floating_point():
            actual = actual.float()
        assert_close(actual, expected)


def small_block(channels=8, num_segments=3, **kwargs):
    torch.manual_seed(0)
    kwargs = {
        'mid_channels': 6,
        'extraction': dict(type='STSSConvExtraction', channels=(2, 3, 4, 5)),
        'integration': dict(type='STSSConvIntegration', channels=(4, 5, 6, 7)),
        **kwargs
    }
    return SELFYBlock(channels, num_segments, **kwargs)


def awake(block):
    """Give the block's last norm a scale other than the initial zero."""
    nn.init.uniform_(block.residual_add.bn.weight, 0.5, 1.5)
    nn.init.normal_(block.residual_add.bn.bias)
    return block


def test_operations_are_counted_on_the_meta_device():
    """By PyTorch's counter, and by ours from the sizes of the layers."""
    from torch.utils.flop_counter import FlopCounterMode

    from selfy_mmaction.evaluation.complexity import count_block
    block = SELFYBlock(512, 8).to('meta')
    x = torch.randn(16, 512, 28, 28, device='meta')
    with FlopCounterMode(display=False) as counter:
        out = block(x)
    assert out.shape == x.shape and out.device.type == 'meta'
    counts = counter.get_flop_counts()['Global']
    macs, _ = count_block(block, 512, 28, 28)
    # an addition is an operation of its own there, and there are 2 clips
    assert counts[torch.ops.aten.convolution] == 2 * 2 * macs
    out.sum().backward()
    assert all(p.grad.shape == p.shape for p in block.parameters())


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('size', [(8, 8), (7, 11), (1, 2)])
@pytest.mark.parametrize('relu', [True, False])
def test_starts_as_the_identity(relu, size, training):
    x = torch.randn(6, 8, *size)
    x = x.relu() if relu else x
    assert torch.equal(small_block(relu=relu).train(training)(x), x)


@pytest.mark.parametrize('size', [(8, 8), (7, 11), (5, 4)])
@pytest.mark.parametrize('momentum', [0.1, None])
def test_zero_stuffed_norm_equals_a_norm_of_the_stuffed_map(size, momentum):
    add = awake(small_block(relu=False)).residual_add.double()
    add.bn.momentum = momentum
    stuffed_norm = nn.BatchNorm2d(8, momentum=momentum).double()
    stuffed_norm.load_state_dict(add.bn.state_dict())
    height, width = size
    for _ in range(2):
        x = torch.randn(6, 8, *size, dtype=torch.float64)
        motion = torch.randn(
            6, 7, (height + 1) // 2, (width + 1) // 2, dtype=torch.float64)
        zeros = torch.zeros_like(x)
        zeros[:, :, ::2, ::2] = add.conv(motion)
        torch.testing.assert_close(add(x, motion), x + stuffed_norm(zeros))
    for name, expected in stuffed_norm.named_buffers():
        torch.testing.assert_close(add.bn.get_buffer(name), expected)
    add.eval(), stuffed_norm.eval()
    torch.testing.assert_close(add(x, motion), x + stuffed_norm(zeros))


@pytest.mark.parametrize('training', [True, False])
def test_every_parameter_gets_a_gradient(training):
    block = awake(small_block()).train(training)
    out = block(torch.randn(6, 8, 9, 9))
    (out * torch.randn_like(out)).sum().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


@pytest.mark.parametrize('channels', [(3, 4), (2, 3, 4), (2, 2, 2, 2, 3)])
def test_extraction_of_any_depth_covers_the_window(channels):
    extraction = STSSConvExtraction((3, 9, 13), channels)
    x = torch.rand(1, 2, 3, 4, 3, 9, 13)
    assert extraction(x).shape == (1, 2, 3, 4, 3, channels[-1])


@pytest.mark.parametrize('frozen', [False, True])
def test_checkpointing_changes_nothing(frozen):
    """Nor where the input needs no gradient, as behind frozen stages."""
    plain, recomputed = awake(small_block()), awake(small_block(with_cp=True))
    recomputed.load_state_dict(plain.state_dict())
    x = torch.randn(6, 8, 7, 8)
    gradients = []
    for block in (plain, recomputed):
        leaf = x.clone().requires_grad_(not frozen)
        block(leaf).square().sum().backward()
        gradients.append([p.grad for p in (leaf, *block.parameters())])
    torch.testing.assert_close(*gradients)
    for name, buffer in plain.named_buffers():
        torch.testing.assert_close(recomputed.get_buffer(name), buffer)


def test_fused_norms_change_nothing():
    from mmcv.cnn import fuse_conv_bn
    block = awake(small_block()).double().train()
    x = torch.randn(6, 8, 7, 10).double()
    block(x)
    expected = block.eval()(x)
    torch.testing.assert_close(fuse_conv_bn(block)(x), expected)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match='6 frames and num_segments=4'):
        small_block(num_segments=4)(torch.randn(6, 8, 4, 4))
    for window in (5, 8, 9), (5, 9), 9, (0, 9, 9):
        with pytest.raises(ValueError, match='window must be three odd'):
            small_block(window=window)
    with pytest.raises(ValueError, match='STSSConvExtraction'):
        STSSConvExtraction((5, 9, 9), (4, ))


def test_compiles_as_one_graph():
    """Traced by PyTorch's compiler, without its slow code generation."""
    plain, compiled = awake(small_block()), awake(small_block())
    graph = torch.compile(compiled, fullgraph=True, backend='aot_eager')
    x = torch.randn(6, 8, 7, 8)
    results = []
    for block in (plain, graph):
        leaf = x.clone().requires_grad_()
        out = block(leaf)
        out.square().mean().backward()
        results.append((out.detach(), leaf.grad))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        dict(compiled.named_buffers()), dict(plain.named_buffers()))


def test_exports_with_any_number_of_clips():
    block = awake(small_block()).eval()
    clips = torch.export.Dim('clips', min=2, max=8)
    program = torch.export.export(
        block, (torch.randn(6, 8, 7, 8), ), dynamic_shapes=({
            0: 3 * clips
        }, ))
    for frames in (6, 12):
        x = torch.randn(frames, 8, 7, 8)
        torch.testing.assert_close(program.module()(x), block(x))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('training', [True, False])
def test_autocast(device, training, dtype):
    plain, mixed = (
        awake(small_block()).train(training).to(device) for _ in range(2))
    mixed.load_state_dict(plain.state_dict())
    x = torch.randn(6, 8, 9, 9, device=device)
    with torch.autocast(device.type, dtype):
        out = mixed(x)
    expected = plain(x)
    error = (out.float() - expected).abs().mean()
    assert error < 0.02 * expected.abs().mean()
    (out.float() * torch.randn_like(expected)).mean().backward()
    for name, parameter in mixed.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
    for name, buffer in plain.named_buffers():
        assert mixed.get_buffer(name).dtype == buffer.dtype
        torch.testing.assert_close(
            mixed.get_buffer(name), buffer, rtol=0.05, atol=0.05)


@pytest.mark.parametrize('needs_gradient', [True, False])
def test_little_is_kept_for_recomputing(needs_gradient):
    from measure import kept_bytes
    block = awake(SELFYBlock(512, 8, with_cp=True)).train()
    x = torch.randn(8, 512, 28, 28, requires_grad=needs_gradient)
    assert kept_bytes(lambda: block(x)) < 45e6
