"""Multiply-adds and parameters of the networks of configs."""
import pytest
from mmengine.config import Config

from selfy_mmaction.evaluation.complexity import get_complexity
from selfy_mmaction.models import SELFYBlock


@pytest.mark.parametrize(('name', 'flops', 'params'), [
    ('selfy_tsm_r50_sthv1', 36.1, 24.8),
    ('selfy_tsm_r50_1x1x16_sthv1', 72.2, 24.8),
    ('tsm_r50_sthv1', 32.9, 23.9),
])
def test_complexity_is_the_known_one(repo, name, flops, params):
    complexity = get_complexity(Config.fromfile(repo / f'configs/{name}.py'))
    assert round(complexity['flops'] / 1e9, 1) == flops
    assert round(complexity['params'] / 1e6, 1) == params
    # (L, U, V) for each position of the frames, 128 channels
    frames = 16 if '1x1x16' in name else 8
    assert complexity['stss_flops'] == (
        frames * 14 * 14 * 5 * 9 * 9 * 128 if 'selfy' in name else 0)


def test_complexity_of_a_transformer(repo):
    cfg = Config.fromfile(repo / 'configs/selfy_vit_b16_videomae_sthv2.py')
    cfg.model.backbone.update(
        patch_size=56,
        embed_dims=32,
        depth=3,
        num_heads=2,
        selfy_indices=(0, 2))
    cfg.model.cls_head.in_channels = 32
    cost = get_complexity(cfg)
    cfg.model.backbone.selfy_indices = ()
    plain = get_complexity(cfg)
    # two blocks on 8 maps of 4 x 4, at 2 x 2
    assert cost['stss_flops'] == 2 * 8 * 2 * 2 * 5 * 9 * 9 * 128
    assert plain['stss_flops'] == 0
    N, C = 8 * 4 * 4, 32
    products = N * C * 3 * 2 * 56 * 56 + C * 174 + 3 * (12 * N * C * C +
                                                        2 * N * N * C)
    # and the norms, which are counted, too
    assert products < plain['flops'] < 1.01 * products
    block = SELFYBlock(32, 8)
    assert cost['params'] - plain['params'] == 2 * sum(
        p.numel() for p in block.parameters())
    # 3 x 3 convolutions from 32 to 128 channels are part of it.
    assert cost['flops'] - plain['flops'] > 2 * 8 * 2 * 2 * 9 * 32 * 128


def test_complexity_follows_the_frames_and_the_blocks(repo):
    costs = {}
    for name in ('selfy_tsm_r50_sthv2', 'selfy_tsn_r50_sthv2', 'tsm_r50_sthv2',
                 'tsn_r50_sthv2'):
        cfg = Config.fromfile(repo / f'configs/{name}.py')
        cfg.model.backbone.depth, cfg.model.cls_head.in_channels = 18, 512
        costs[name[:-len('_r50_sthv2')]] = get_complexity(cfg, (32, 48))
    # A shift costs nothing.
    assert costs['selfy_tsm'] == costs['selfy_tsn']
    assert costs['tsm'] == costs['tsn']
    assert costs['selfy_tsm']['flops'] > costs['tsm']['flops']
