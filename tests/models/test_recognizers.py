"""Recognizers that test a bounded number of views at a time."""
from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope

CONFIGS = Path(__file__).parents[2] / 'configs'


def load_kinetics(name, bound):
    """The small model of a config, with a bound of the views at a time."""
    cfg = Config.fromfile(CONFIGS / f'{name}_k400.py').model
    cfg.backbone.update(depth=18, pretrained=None)
    cfg.cls_head.in_channels = 512
    cfg.max_testing_views = bound
    return cfg


@pytest.mark.parametrize('name, bound', [('selfy_tsm_r50_1x1x16', 4),
                                         ('tsm_r50', 1), ('tsn_r50', 9)])
def test_bounded_views_score_like_all_at_once(name, bound):
    init_default_scope('mmaction')
    cfg = load_kinetics(name, bound)
    torch.manual_seed(0)
    model = MODELS.build(cfg).eval()
    videos, views, frames = 2, 3, cfg.backbone.num_segments
    clips = torch.randn(videos, views * frames, 3, 32, 32)
    sizes = []
    model.backbone.register_forward_pre_hook(
        lambda _, args: sizes.append(len(args[0])))
    with torch.no_grad():
        samples = model.predict(
            clips, [ActionDataSample(), ActionDataSample()])
        assert sum(sizes) == videos * views * frames
        assert max(sizes) == min(bound, videos * views) * frames
        # [N, V * T, 3, H, W] => [N * V, K] => [N, V, K]
        logits = model(clips, stage='head').unflatten(0, (videos, views))
    scores = torch.stack([sample.pred_score for sample in samples])
    # the logits of the views, averaged
    torch.testing.assert_close(scores, logits.mean(1))
    assert not torch.allclose(scores[0], scores[1])


def test_bound_of_views_is_checked():
    init_default_scope('mmaction')
    for bound in 0, 2.5, None:
        with pytest.raises(ValueError, match='max_testing_views must be a po'):
            MODELS.build(load_kinetics('tsm_r50', bound))
    # 8 videos have a multiple of 8 frames.
    with pytest.raises(ValueError, match='10 frames of a video should be a '):
        MODELS.build(load_kinetics('tsm_r50', 1)).predict(
            torch.zeros(8, 10, 3, 32, 32), [])
