"""The configs against the recipes of the official code."""
import copy
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
STHV1 = [
    'selfy_tsm_r50_sthv1.py', 'selfy_tsm_r50_1x1x16_sthv1.py',
    'tsm_r50_sthv1.py'
]
# Of the classes in alphabetical order, as in the official code.
OFFICIAL_LEFT_RIGHT = {86, 87, 93, 94, 166, 167}


def load(name):
    """Load a config, without weights from elsewhere."""
    cfg = Config.fromfile(CONFIGS / name)
    cfg.model.backbone.pretrained = None
    init_default_scope('mmaction')
    return cfg


@pytest.fixture
def main():
    return load('selfy_tsm_r50_sthv1.py')


def build_step(cfg, stage, name):
    """Build a transform of a data loader."""
    for step in cfg[f'{stage}_dataloader'].dataset.pipeline:
        if step.type == name:
            return TRANSFORMS.build(step)
    raise KeyError(name)


def test_the_rate_is_for_the_official_batch(main):
    assert main.auto_scale_lr.base_batch_size == 64
    assert main.train_dataloader.batch_size == 64 / 8
    assert main.train_dataloader.drop_last


@pytest.mark.parametrize('order', ['mmaction', 'official'])
def test_left_right_classes_are_never_flipped(main, class_names, order):
    step = next(
        copy.deepcopy(step) for step in main.train_dataloader.dataset.pipeline
        if step.type == 'SelectiveFlip')
    names = class_names
    if order == 'official':
        names = sorted(names)
        step.classes = names
    flip = TRANSFORMS.build({**step, 'flip_ratio': 1})
    frozen = {
        label
        for label in range(174) if not flip(
            dict(
                label=label,
                modality='RGB',
                img_shape=(2, 3),
                imgs=[np.zeros((2, 3, 3), np.uint8)]))['flip']
    }
    assert {names[label]
            for label in frozen} == {
                'Pulling something from left to right',
                'Pulling something from right to left',
                'Pushing something from left to right',
                'Pushing something from right to left',
                'Turning the camera left while filming something',
                'Turning the camera right while filming something'
            }
    if order == 'official':
        assert frozen == OFFICIAL_LEFT_RIGHT


def sample_frames(cfg, stage, total, name='SampleFrames'):
    """Return the frames that a pipeline takes of a video, from 0."""
    step = build_step(cfg, stage, name)
    return step(dict(total_frames=total, start_index=0))['frame_inds']


@pytest.mark.parametrize('frames', [8, 16])
def test_testing_takes_the_middle_of_each_segment(frames):
    suffix = '' if frames == 8 else '_1x1x16'
    cfg = load(f'selfy_tsm_r50{suffix}_sthv1.py')
    for total in range(frames + 1, 200):
        tick = total / float(frames)
        expected = [int(tick / 2.0 + tick * x) for x in range(frames)]
        for stage in 'val', 'test':
            assert sample_frames(cfg, stage, total).tolist() == expected


def test_segments_are_spread_over_a_short_video(main):
    """Where the official code repeats the first frame."""
    assert sample_frames(main, 'test', 4).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert sample_frames(main, 'test', 8).tolist() == [*range(8)]
    assert sample_frames(main, 'train', 8).tolist() == [*range(8)]
    assert set(sample_frames(main, 'train', 6).tolist()) == set(range(6))


def test_training_takes_a_random_frame_of_each_segment(main):
    np.random.seed(0)
    total, length = 43, 43 // 8
    draws = np.stack([sample_frames(main, 'train', total) for _ in range(200)])
    for segment in range(8):
        expected = set(range(segment * length, (segment + 1) * length))
        assert set(draws[:, segment].tolist()) == expected


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


@pytest.mark.parametrize('name', STHV1)
def test_rates_and_decays_of_all_parameters(name):
    cfg = load(name)
    model = MODELS.build(cfg.model)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    groups = {
        id(param): group
        for group in optimizer.param_groups
        for param in group['params']
    }
    for module in model.modules():
        norm = isinstance(module, torch.nn.modules.batchnorm._BatchNorm)
        for key, param in module.named_parameters(recurse=False):
            group = groups.pop(id(param))
            bias = key == 'bias'
            assert group['lr'] == (0.02 if bias and not norm else 0.01)
            assert group['weight_decay'] == (0 if bias or norm else 5e-4)
            assert group['momentum'] == 0.9 and group['nesterov']
    assert not groups


def test_rate_falls_after_epochs_30_and_40(main):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=main.optim_wrapper.optimizer.lr)
    # as MMEngine's runner does
    end = main.train_cfg.max_epochs
    scheduler = PARAM_SCHEDULERS.build(
        main.param_scheduler[0],
        default_args=dict(optimizer=optimizer, end=end))
    rates = []
    for _ in range(end):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(rates,
                               [0.01] * 30 + [0.001] * 10 + [0.0001] * 10)


def test_gradients_are_clipped_at_20(main):
    weight = torch.nn.Parameter(torch.zeros(4))
    wrapper = build_optim_wrapper(
        torch.nn.ParameterList([weight]),
        dict(
            main.optim_wrapper,
            constructor='DefaultOptimWrapperConstructor',
            paramwise_cfg=None))
    wrapper.update_params((100 * weight).sum())
    # the first step with Nesterov momentum
    assert weight.norm().item() == pytest.approx(0.01 * (1 + 0.9) * 20)


def test_classifier_starts_as_xaviers(main):
    torch.manual_seed(0)
    head = MODELS.build(main.model.cls_head)
    head.init_weights()
    expected = torch.empty_like(head.fc_cls.weight)
    torch.nn.init.xavier_uniform_(expected)
    weight = head.fc_cls.weight.detach()
    assert weight.std().item() == pytest.approx(expected.std().item(), rel=.01)
    assert head.fc_cls.bias.abs().max() == 0


@pytest.mark.parametrize('size, dataset', [('', 'sthv1'),
                                           ('_1x1x16', 'sthv2')])
def test_two_clips_are_middles_and_starts_of_segments(size, dataset):
    cfg = load(f'selfy_tsm_r50{size}_{dataset}_2clip.py')
    frames = 16 if size else 8
    for total in 40, 47:
        middles = [int(total / frames * (i + .5)) for i in range(frames)]
        starts = [int(total / frames * i) for i in range(frames)]
        assert [*sample_frames(cfg, 'test', total)] == middles + starts
        assert [*sample_frames(cfg, 'val', total)] == middles


@pytest.mark.parametrize('size', ['', '_1x1x16'])
def test_kinetics_takes_frames_from_windows_of_64(size):
    cfg, frames = load(f'selfy_tsm_r50{size}_k400.py'), 16 if size else 8

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
    cfg = load('selfy_tsm_r50_k400.py')

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


@pytest.mark.parametrize('name', ['selfy_tsm_r50_1x1x16', 'tsn_r50'])
def test_kinetics_trains_as_the_authors_other_network(name):
    cfg = load(f'{name}_k400.py')
    schedule, = cfg.param_scheduler
    assert cfg.train_cfg.max_epochs == 75
    assert [75 * share for share in schedule.milestones] == [30, 60]
    assert (schedule.gamma, cfg.optim_wrapper.clip_grad.max_norm) == (0.1, 20)
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    found = {}
    for group in wrapper.optimizer.param_groups:
        assert group['momentum'] == 0.9 and not group['nesterov']
        found |= {
            id(p): (group['lr'], group['weight_decay'])
            for p in group['params']
        }
    assert len(found) == len([*model.parameters()])
    head = model.cls_head.fc_cls
    assert found[id(head.weight)] == (0.02, 1e-4)
    assert found[id(head.bias)] == (0.04, 0)
