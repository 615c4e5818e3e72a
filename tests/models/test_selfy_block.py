"""The block against the official one, whose numbers are in tests/data."""
import json

import numpy as np
import pytest
import torch
from blocks import awaken
from official import DATA, official_tensor, standard_normal

from selfy_mmaction.models import SELFYBlock
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
def test_evaluation_is_the_official_one(device, case):
    block, x, _ = official_block(case, device)
    with torch.no_grad():
        similarities, out = block.eval().transformation(x), block(x)
    # the official layout of the similarities has a channel axis
    for actual, expected in ((similarities, golden(f'{case}/stss').squeeze(4)),
                             (out, golden(f'{case}/eval'))):
        torch.testing.assert_close(
            actual.cpu(), expected, rtol=1e-4, atol=1e-5)


def assert_same_norm(actual, expected):
    """Relative to the tensor's norm.

    Float32 gradients, the golden ones too, are good to 1e-5 of the largest
    element; which elements are off depends on processor and threads.
    """
    assert (actual - expected).norm() <= 1e-4 * expected.norm()


@pytest.mark.parametrize('dtype, assert_gradient, with_cp', [
    (torch.float64, assert_close, False),
    (torch.float64, assert_close, True),
    (torch.float32, assert_same_norm, False),
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


@pytest.mark.parametrize('needs_gradient', [True, False])
def test_little_is_kept_for_recomputing(needs_gradient):
    from measure import kept_bytes
    block = awaken(SELFYBlock(512, 8, with_cp=True))
    x = torch.randn(8, 512, 28, 28, requires_grad=needs_gradient)
    assert kept_bytes(lambda: block(x)) < 45e6
