"""The configs against the recipe of the official code."""
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

from selfy_mmaction.engine.launch import check_dataloader

CONFIGS = Path(__file__).parent.parent / 'configs'
STHV1 = [
    'selfy_tsm_r50_sthv1.py', 'selfy_tsm_r50_1x1x16_sthv1.py',
    'tsm_r50_sthv1.py'
]
# Of the classes in alphabetical order, as in the official code.
OFFICIAL_LEFT_RIGHT = {86, 87, 93, 94, 166, 167}


def load(name, tmp_path):
    """Load a config, without weights and lists from elsewhere."""
    cfg = Config.fromfile(CONFIGS / name)
    cfg.model.backbone.pretrained = None
    (tmp_path / 'list.txt').touch()
    for stage in 'train', 'val', 'test':
        dataset = cfg[f'{stage}_dataloader'].dataset
        dataset.data_root, dataset.ann_file = str(tmp_path), 'list.txt'
    init_default_scope('mmaction')
    return cfg


@pytest.fixture
def main(tmp_path):
    return load('selfy_tsm_r50_sthv1.py', tmp_path)


def build_step(cfg, stage, name):
    """Build a transform of a data loader."""
    for step in cfg[f'{stage}_dataloader'].dataset.pipeline:
        if step.type == name:
            return TRANSFORMS.build(step)
    raise KeyError(name)


@pytest.mark.parametrize('name', STHV1)
def test_config_is_consistent(name, tmp_path):
    cfg = load(name, tmp_path)
    frames = 16 if '1x1x16' in name else 8
    assert cfg.model.backbone.num_segments == frames
    for stage in 'train', 'val', 'test':
        check_dataloader(cfg, stage)
    # MMAction2's inference API reads this.
    assert cfg.test_pipeline == cfg.test_dataloader.dataset.pipeline
    assert cfg.test_pipeline[0].num_clips == frames
    model = MODELS.build(cfg.model)
    assert model.cls_head.num_segments == frames
    assert ('SELFY' in type(model.backbone).__name__) == ('selfy' in name)


def test_the_rate_is_for_the_official_batch(main):
    assert main.auto_scale_lr.base_batch_size == 64
    assert main.train_dataloader.batch_size == 64 / 8
    assert main.train_dataloader.drop_last


@pytest.mark.parametrize('order', ['mmaction', 'official'])
def test_left_right_classes_are_never_flipped(main, class_names, order,
                                              tmp_path):
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
    assert {names[label] for label in frozen} == {
        'Pulling something from left to right',
        'Pulling something from right to left',
        'Pushing something from left to right',
        'Pushing something from right to left',
        'Turning the camera left while filming something',
        'Turning the camera right while filming something'
    }
    if order == 'official':
        assert frozen == OFFICIAL_LEFT_RIGHT


def sample_frames(cfg, stage, total):
    """Return the frames that a pipeline takes of a video, from 0."""
    step = build_step(cfg, stage, 'SampleFrames')
    return step(dict(total_frames=total, start_index=0))['frame_inds']


@pytest.mark.parametrize('frames', [8, 16])
def test_testing_takes_the_middle_of_each_segment(frames, tmp_path):
    suffix = '' if frames == 8 else '_1x1x16'
    cfg = load(f'selfy_tsm_r50{suffix}_sthv1.py', tmp_path)
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
    draws = np.stack(
        [sample_frames(main, 'train', total) for _ in range(200)])
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
                          y * down + height) for y, x in corners}
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
def test_rates_and_decays_of_all_parameters(name, tmp_path):
    cfg = load(name, tmp_path)
    model = MODELS.build(cfg.model)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    groups = {
        id(param): group
        for group in optimizer.param_groups for param in group['params']
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
    scheduler = PARAM_SCHEDULERS.build(
        main.param_scheduler[0], default_args=dict(optimizer=optimizer))
    rates = []
    for _ in range(main.train_cfg.max_epochs):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(
        rates, [0.01] * 30 + [0.001] * 10 + [0.0001] * 10)


def test_gradients_are_clipped_at_20(main):
    weight = torch.nn.Parameter(torch.zeros(4))
    wrapper = build_optim_wrapper(
        torch.nn.ParameterList([weight]),
        dict(main.optim_wrapper, constructor='DefaultOptimWrapperConstructor',
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
