"""Multiply-adds and parameters of the networks of configs."""
import pytest
from mmengine.config import Config
from update_zoo import Zoo

from selfy_mmaction.datasets.recipes import frame_size
from selfy_mmaction.evaluation.complexity import get_complexity
from selfy_mmaction.models import SELFYBlock

WINDOW = 5 * 9 * 9


@pytest.mark.parametrize(('name', 'flops', 'params', 'stss_flops'), [
    ('selfy_tsm_r50_sthv1', 36.1, 24.8, 8 * 14 * 14 * WINDOW * 128),
    ('selfy_tsm_r50_1x1x16_sthv1', 72.2, 24.8, 16 * 14 * 14 * WINDOW * 128),
    ('tsm_r50_sthv1', 32.9, 23.9, 0),
    ('tsn_r50_sthv1', 32.9, 23.9, 0),
    ('selfy_tsm_r18_motion', 0.8, 1.1, 8 * 4 * 4 * WINDOW * 64),
])
def test_complexity_is_the_known_one(repo, name, flops, params, stss_flops):
    """The numbers of the official code, and those in the zoo."""
    cfg = Config.fromfile(repo / f'configs/{name}.py')
    found = get_complexity(cfg,
                           frame_size(cfg.train_dataloader.dataset.pipeline))
    assert round(found['flops'] / 1e9, 1) == flops
    assert round(found['params'] / 1e6, 1) == params
    assert found['stss_flops'] == stss_flops
    metadata = Zoo(repo).models[name]['Metadata']
    assert metadata['FLOPs'] == found['flops']
    assert metadata['Parameters'] == found['params']


def test_complexity_of_a_transformer(repo):
    cfg = Config.fromfile(repo / 'configs/selfy_vit_b16_videomae_sthv2.py')
    cfg.model.cls_head.in_channels = C = 32
    cfg.model.backbone.update(
        patch_size=56,
        embed_dims=C,
        depth=3,
        num_heads=2,
        selfy_indices=(0, 2))
    cost = get_complexity(cfg)
    cfg.model.backbone.selfy_indices = ()
    plain = get_complexity(cfg)
    # two blocks on 8 maps of 4 x 4, at 2 x 2
    assert cost['stss_flops'] == 2 * 8 * 2 * 2 * WINDOW * 128
    assert plain['stss_flops'] == 0
    N = 8 * 4 * 4
    products = N * C * 3 * 2 * 56 * 56 + C * 174 + 3 * (12 * N * C * C +
                                                        2 * N * N * C)
    # and the norms, which are counted, too
    assert products < plain['flops'] < 1.01 * products
    assert cost['params'] - plain['params'] == 2 * sum(
        p.numel() for p in SELFYBlock(C, 8).parameters())
    # 3 x 3 convolutions from 32 to 128 channels are part of it.
    assert cost['flops'] - plain['flops'] > 2 * 8 * 2 * 2 * 9 * C * 128
