"""Networks that tests share, and what one sees."""
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from selfy_mmaction.apis.inference import VideoPredictor
from selfy_mmaction.apis.similarity import SelfSimilarity, observe
from selfy_mmaction.engine import launch


@pytest.fixture(scope='session')
def published(repo) -> tuple[str, str]:
    """The quickstart's config and the network that comes with it."""
    checkpoint, = repo.glob('checkpoints/selfy_tsm_r18_motion_2*.pth')
    return str(repo / 'configs/selfy_tsm_r18_motion.py'), str(checkpoint)


@pytest.fixture(scope='session')
def observer(published) -> VideoPredictor:
    """It, on frames of 96 rows and 160 columns."""
    config, checkpoint = published
    # width x height
    cfg = launch.load_config(
        config, {'test_dataloader.dataset.pipeline.3.scale': (160, 96)})
    return VideoPredictor(cfg, checkpoint, 'cpu')


@pytest.fixture(scope='session')
def pan(repo) -> str:
    """A video of a camera that pans right."""
    return str(repo / 'demo/camera_pans_right.webm')


@pytest.fixture(scope='session')
def seen(observer, pan) -> SelfSimilarity:
    """What its block sees in that video."""
    return observe(observer, pan)


@pytest.fixture(scope='session')
def save_checkpoint() -> Callable:
    """Save random weights of a config as if they had been trained."""

    def save(cfg: Config, path: Path, classes: list[str] = ()) -> Path:
        init_default_scope('mmaction')
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1)
                nn.init.uniform_(module.bias, -0.1, 0.1)
                nn.init.uniform_(module.running_mean, -0.1, 0.1)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.3)
        meta = dict(dataset_meta=dict(classes=classes)) if classes else {}
        torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
        return path

    return save
