"""The configs against the recipes of the official code."""
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS, TRANSFORMS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope

CONFIGS = Path(__file__).parent.parent / 'configs'


def load(name):
    """Load a config, without weights from elsewhere."""
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    cfg.model.backbone.pretrained = None
    init_default_scope('mmaction')
    return cfg


@pytest.fixture
def main():
    return load('selfy_tsm_r50_sthv1')


def sample_frames(cfg, stage, total, name='SampleFrames'):
    """Return the frames that a pipeline takes of a video, from 0."""
    step, = (
        step for step in cfg[f'{stage}_dataloader'].dataset.pipeline
        if step.type == name)
    return TRANSFORMS.build(step)(dict(total_frames=total,
                                       start_index=0))['frame_inds'].tolist()


@pytest.mark.parametrize('size, dataset', [('', 'sthv1'),
                                           ('_1x1x16', 'sthv2')])
def test_testing_takes_the_middle_of_each_segment(size, dataset):
    """And its start, for the second of two clips."""
    one, two = (
        load(f'selfy_tsm_r50{size}_{dataset}{clips}')
        for clips in ('', '_2clip'))
    frames = 16 if size else 8
    for total in range(frames + 1, 200):
        middles = [int(total / frames * (i + .5)) for i in range(frames)]
        starts = [int(total / frames * i) for i in range(frames)]
        for cfg, stage in (one, 'val'), (one, 'test'), (two, 'val'):
            assert sample_frames(cfg, stage, total) == middles
        assert sample_frames(two, 'test', total) == middles + starts


def test_segments_are_spread_over_a_short_video(main):
    """Where the official code repeats the first frame."""
    assert sample_frames(main, 'test', 4) == [0, 0, 1, 1, 2, 2, 3, 3]
    for stage in 'train', 'test':
        assert sample_frames(main, stage, 8) == [*range(8)]
    assert {*sample_frames(main, 'train', 6)} == {*range(6)}


def test_training_takes_a_random_frame_of_each_segment(main):
    np.random.seed(0)
    total, length = 43, 43 // 8
    draws = [sample_frames(main, 'train', total) for _ in range(200)]
    for segment, drawn in enumerate(zip(*draws, strict=True)):
        assert {*drawn} == {*range(segment * length, (segment + 1) * length)}


def test_training_crops_are_the_official_ones(main):
    sizes = {0: 240, 1: 210, 2: 180, 3: 158}  # 1, .875, .75, .66 of 240
    expected = set()
    for i, height in sizes.items():
        for j, width in sizes.items():
            if abs(i - j) > 1:
                continue
            # 13 positions on a grid of quarters of the free space
            down, right = (240 - height) // 4, (320 - width) // 4
            corners = {(y, x) for y in (0, 2, 4) for x in (0, 2, 4)}
            corners |= {(y, x) for y in (1, 3) for x in (1, 3)}
            expected |= {(x * right, y * down, x * right + width,
                          y * down + height)
                         for y, x in corners}
    random.seed(0)
    steps = [
        TRANSFORMS.build(step)
        for step in main.train_dataloader.dataset.pipeline[2:5]
    ]
    drawn = set()
    for _ in range(2500):
        # SSV1's frames are 100 pixels high.
        results = dict(img_shape=(100, 176))
        for step in steps:
            results = step(results)
        assert results['img_shape'] == (224, 224)
        drawn.add(tuple(results['crop_bbox'].tolist()))
    assert drawn == expected


def test_testing_crops_the_center(main):
    frame = np.zeros((100, 176, 3), np.uint8)
    results = dict(imgs=[frame] * 8, img_shape=(100, 176), modality='RGB')
    for step in main.test_dataloader.dataset.pipeline[2:4]:
        results = TRANSFORMS.build(step)(results)
    assert results['crop_bbox'].tolist() == [48, 8, 272, 232]


# rate and decay by kind
USUAL = dict(weight=(.01, 5e-4), bias=(.02, 0), norm=(.01, 0))
KINETICS = dict(head_weight=(.02, 1e-4), head_bias=(.04, 0))


@pytest.mark.parametrize('name, rates', [
    ('selfy_tsm_r50_sthv1', USUAL),
    ('selfy_tsm_r50_1x1x16_sthv1', USUAL),
    ('tsm_r50_sthv1', USUAL),
    ('selfy_tsm_r50_1x1x16_k400', KINETICS),
    ('tsn_r50_k400', KINETICS),
])
def test_rates_and_decays_of_all_parameters(name, rates):
    cfg = load(name)
    model = MODELS.build(cfg.model)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    groups = {
        id(param): group
        for group in optimizer.param_groups
        for param in group['params']
    }
    for module in model.modules():
        kind = 'head' if module is model.cls_head.fc_cls else 'norm' if (
            isinstance(module, torch.nn.modules.batchnorm._BatchNorm)) else ''
        for key, param in module.named_parameters(recurse=False):
            group = groups.pop(id(param))
            assert group['momentum'] == 0.9
            assert group['nesterov'] == (rates is USUAL)
            found = group['lr'], group['weight_decay']
            names = f'{kind}_{key}', kind, key
            expected = next((rates[x] for x in names if x in rates), found)
            assert found == expected, key
    assert not groups


@pytest.mark.parametrize('name, rate, milestones, epochs',
                         [('selfy_tsm_r50_sthv1', 0.01, (30, 40), 50),
                          ('selfy_tsm_r50_1x1x16_k400', None, (30, 60), 75),
                          ('tsn_r50_k400', None, (30, 60), 75)])
def test_rate_falls_and_gradients_are_clipped(name, rate, milestones, epochs):
    cfg = load(name)
    assert cfg.train_cfg.max_epochs == epochs
    rate = rate or cfg.optim_wrapper.optimizer.lr
    weight = torch.nn.Parameter(torch.zeros(4))
    wrapper = build_optim_wrapper(
        torch.nn.ParameterList([weight]),
        dict(
            cfg.optim_wrapper,
            constructor='DefaultOptimWrapperConstructor',
            paramwise_cfg=None))
    scheduler = PARAM_SCHEDULERS.build(
        cfg.param_scheduler[0],
        # as MMEngine's runner does
        default_args=dict(optimizer=wrapper.optimizer, end=epochs))
    rates = []
    for _ in range(epochs):
        rates += wrapper.get_lr()['lr']
        before = weight.detach().clone()
        wrapper.update_params((100 * weight).sum())
        scheduler.step()
        if len(rates) == 1:
            # Nesterov momentum takes more of the first step
            group, = wrapper.optimizer.param_groups
            share = 1 + group['momentum'] * group['nesterov']
            assert (weight - before).norm().item() == pytest.approx(rate *
                                                                    share * 20)
    first, second = milestones
    np.testing.assert_allclose(rates, [rate] * first + [rate / 10] *
                               (second - first) + [rate / 100] *
                               (epochs - second))


def test_classifier_starts_as_xaviers(main):
    torch.manual_seed(0)
    head = MODELS.build(main.model.cls_head)
    head.init_weights()
    expected = torch.empty_like(head.fc_cls.weight)
    torch.nn.init.xavier_uniform_(expected)
    weight = head.fc_cls.weight.detach()
    assert weight.std().item() == pytest.approx(expected.std().item(), rel=.01)
    assert head.fc_cls.bias.abs().max() == 0


@pytest.mark.parametrize('size', ['', '_1x1x16'])
def test_kinetics_takes_frames_from_windows_of_64(size):
    cfg, frames = load(f'selfy_tsm_r50{size}_k400'), 16 if size else 8

    def window(start, total):
        return tuple((start + i * 64 // frames) % total for i in range(frames))

    def sample(stage, total):
        return tuple(sample_frames(cfg, stage, total, 'DenseSampleFrames'))

    for total in 3, 20, 63, 64, 65, 66, 70, 250, 300:
        last = max(total - 64, 0)
        starts = np.linspace(0, last, 10).astype(int)
        assert sample('test', total) == sum(
            (window(start, total) for start in starts), ())
        assert sample('val', total) == window(0, total)
        # As in the official code, the last start is never drawn.
        possible = {window(start, total) for start in range(max(last, 1))}
        drawn = {sample('train', total) for _ in range(300 if last < 9 else 5)}
        assert drawn == possible if last < 9 else drawn <= possible


@pytest.mark.parametrize(
    'height, width, corners',
    [
        (360, 640, [[0, 0], [198, 0], [99, 0]]),  # 455 x 256
        (512, 256, [[0, 0], [0, 256], [0, 128]]),
    ])
def test_kinetics_sees_crops_of_frames_whose_short_side_is_256(
        height, width, corners):
    cfg = load('selfy_tsm_r50_k400')

    def crop(stage):
        results = dict(
            imgs=[np.zeros((height, width, 3), np.uint8)],
            img_shape=(height, width),
            modality='RGB')
        for step in cfg[f'{stage}_dataloader'].dataset.pipeline[3:]:
            if step.type in ('Flip', 'FormatShape'):
                return results
            results = TRANSFORMS.build(step)(results)

    results = crop('test')
    assert [img.shape for img in results['imgs']] == [(256, 256, 3)] * 3
    assert results['crop_bbox'][:, :2].tolist() == corners
    assert crop('val')['imgs'][0].shape == (224, 224, 3)
    random.seed(0)
    sizes = set()
    for _ in range(60):
        results = crop('train')
        assert results['imgs'][0].shape == (224, 224, 3)
        left, top, right, bottom = results['crop_bbox']
        assert 0 <= left < right and 0 <= top < bottom
        sizes |= {right - left, bottom - top}
    assert sizes == {256, 224, 192, 168}
