"""Multiply-adds and parameters of the networks that configs describe."""
import contextlib
import copy
import warnings

import torch
from mmaction.registry import MODELS
from mmengine.analysis import FlopAnalyzer, parameter_count
from mmengine.config import Config
from mmengine.registry import DefaultScope

from ..models.selfy_block import STSSTransformation


def get_complexity(cfg: Config, size: tuple[int, int] = (224, 224)) -> dict:
    """Count what one clip costs, by MMEngine's counter.

    One multiply-add is one FLOP, as in MMAction2's tables. MMEngine does not
    see into the autograd function of :func:`stss`, so that its products are
    counted here: L * U * V * C for each position of a frame.

    Args:
        cfg (Config): A config with a 2D recognizer; its weights are not
            loaded.
        size (tuple[int, int]): Height and width of the frames.
            Defaults to (224, 224).

    Returns:
        dict: ``flops`` of all but the products of STSS, which is what the
        numbers in papers and tables are compared with, ``stss_flops`` of
        these products, and ``params``.
    """
    model_cfg = copy.deepcopy(cfg.model)
    model_cfg.backbone.pretrained = None
    with DefaultScope.overwrite_default_scope(
            cfg.get('default_scope', 'mmaction')):
        model = MODELS.build(model_cfg)
    model.eval()
    model.forward = lambda clip: model._forward(clip, stage='head')

    products = []
    for module in model.modules():
        if isinstance(module, STSSTransformation):
            module.register_forward_hook(
                lambda module, _, out: products.append(
                    out.numel() * module.downsample.conv.out_channels))

    clip = torch.zeros(1, model_cfg.backbone.num_segments, 3, *size)
    flops = FlopAnalyzer(model, (clip, ))
    flops.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    with torch.no_grad(), _quiet_tracer():
        total = int(flops.total())
    return dict(
        flops=total,
        stss_flops=sum(products),
        params=parameter_count(model)[''])


@contextlib.contextmanager
def _quiet_tracer():
    """Sizes that a trace freezes do not matter: it runs once."""
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', category=torch.jit.TracerWarning)
        yield
