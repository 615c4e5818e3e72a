"""Higher orders against their authors' module, in numbers of tests/data."""
import json

import numpy as np
import pytest
import torch
from official import DATA
from torch import nn

from selfy_mmaction.evaluation.complexity import count_block
from selfy_mmaction.models import MOSSBlock
from selfy_mmaction.models.convert import convert_moss_state_dict
from selfy_mmaction.ops import stss

CASES = 'two_orders', 'dot_softmax'
SIMILARITIES = {'cosine': 'cosine', 'dotproduct_softmax': 'softmax'}


def load(case):
    """The arrays of a case in float64, by name, and its sizes."""
    with np.load(DATA / 'golden_moss.npz') as file:
        arrays = {
            name.removeprefix(f'{case}/'): file[name]
            for name in file.files if name.startswith(case)
        }
    meta = json.loads(str(arrays.pop('meta')))
    return {
        name: torch.from_numpy(array).double()
        for name, array in arrays.items()
    }, meta


def part(arrays, kind):
    return {
        name.removeprefix(f'{kind}.'): array
        for name, array in arrays.items() if name.startswith(f'{kind}.')
    }


def make_block(meta, **kwargs):
    return MOSSBlock(
        meta['d_in'],
        meta['T'],
        orders=meta['orders'],
        mid_channels=meta['d_hid'],
        window=meta['window'],
        similarity=SIMILARITIES[meta['corr']],
        extraction=dict(
            type='STSSMLPExtraction', channels=meta['ext'], act='GELU'),
        integration=dict(
            type='STSSConvIntegration', channels=meta['integ'], act='GELU'),
        relu=False,
        **kwargs).double()


def to_maps(tokens, meta):
    """[h * w, N * T, C] => [N * T, C, h, w]"""
    return tokens.permute(1, 2, 0).unflatten(2, (meta['h'], -1))


@pytest.mark.parametrize('case', CASES)
def test_module_is_the_authors(device, case):
    arrays, meta = load(case)
    arrays = {name: array.to(device) for name, array in arrays.items()}
    block = make_block(meta).to(device)
    block.load_state_dict(convert_moss_state_dict(part(arrays, 'param')))
    x = to_maps(arrays['x'], meta).requires_grad_()

    block.eval()
    with torch.no_grad():
        torch.testing.assert_close(
            block(x) - x, to_maps(arrays['eval'], meta), rtol=1e-9, atol=1e-10)
    block.train()
    added = block(x) - x
    torch.testing.assert_close(
        added, to_maps(arrays['train'], meta), rtol=1e-9, atol=1e-10)

    added.backward(to_maps(arrays['g'], meta))
    torch.testing.assert_close(
        x.grad, to_maps(arrays['grad_x'], meta), rtol=1e-9, atol=1e-10)
    # A gradient is a sum over positions: its scale is that of its tensor.
    theirs = convert_moss_state_dict(part(arrays, 'grad'))
    ours = dict(block.named_parameters())
    assert theirs.keys() == ours.keys()
    for name, grad in theirs.items():
        if name != 'scale.weight':
            torch.testing.assert_close(
                ours[name].grad,
                grad,
                rtol=1e-9,
                atol=1e-10 * grad.abs().max().item(),
                msg=lambda text, name=name: f'{name}: {text}')


def test_an_order_sees_the_map_of_the_order_before():
    torch.manual_seed(0)
    block = MOSSBlock(6, 4, orders=3, mid_channels=5, relu=False).eval()
    nn.init.ones_(block.scale.weight)
    x = torch.randn(8, 6, 5, 7)
    first = block.encoders[0](x)
    second = block.encoders[1](first)
    third = block.encoders[2](second)
    torch.testing.assert_close(block(x) - x, first + second + third)


def test_window_of_one_compares_with_the_frame_before():
    encoder = MOSSBlock(6, 3, window=(1, 3, 3), mid_channels=5).encoders[0]
    seen = []
    encoder.extraction.register_forward_pre_hook(
        lambda _, args: seen.append(args[0]))
    x = torch.randn(3, 6, 4, 4)
    encoder(x)
    q = encoder.in_proj(encoder.norm(x.permute(0, 2, 3, 1)))[None]
    before = torch.stack([q[:, 0], q[:, 0], q[:, 1]], 1)
    # [N, T, H, W, C], the position's own frame and the one before in turn
    for t in range(3):
        pair = torch.stack([before[:, t], q[:, t]], 1)
        expected = stss(
            pair, (1, 3, 3), offsets=(-1, ), layout='NTHWC', eps=1e-24)
        torch.testing.assert_close(seen[0][:, t], expected[:, 1])


@pytest.mark.parametrize('options, expected', [
    (dict(window=(1, 3, 3)), 'replicate'),
    (dict(window=(1, 3, 3), offsets=(-2, )), 'zeros'),
    (dict(window=(3, 3, 3)), 'zeros'),
    (dict(window=(1, 3, 3), temporal_padding='zeros'), 'zeros'),
    (dict(window=(3, 3, 3), temporal_padding='replicate'), 'replicate'),
])
def test_an_explicit_padding_is_kept(options, expected):
    block = MOSSBlock(6, 3, mid_channels=5, **options)
    assert {x.temporal_padding for x in block.encoders} == {expected}


def test_other_keys_are_named():
    with pytest.raises(ValueError, match="'head.weight'"):
        convert_moss_state_dict({'head.weight': torch.zeros(1)})


def test_complexity_is_that_of_the_layers():
    block = MOSSBlock(6, 4, orders=2, mid_channels=5, window=(3, 5, 7))
    positions, (H, W) = 4 * 8 * 10, (8, 10)
    order = (
        # projections, the linear map of 5 x 7 similarities for 3 offsets
        positions * (6 * 5 + 128 * 6 + 3 * 35 * 64) +
        # two convolutions for each offset, and the fusion
        positions * 9 * (3 * 2 * 64 * 64 + 3 * 64 * 128))
    # and the scale of the sum
    assert count_block(block, 6, H, W) == (2 * order + positions * 6,
                                           2 * positions * 3 * 35 * 5)
