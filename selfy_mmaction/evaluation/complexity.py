"""Multiply-adds and parameters of the networks that configs describe."""
import copy
import warnings
from collections.abc import Sequence
from math import prod

import torch
from mmaction.models.recognizers import Recognizer3D
from mmaction.registry import MODELS
from mmengine.analysis import FlopAnalyzer, parameter_count
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..datasets.recipes import clip_frames
from ..models.selfy_block import ResidualBlock


def get_complexity(
    cfg: Config, size: Sequence[int] = (224, 224)) -> dict[str, int]:
    """Count the cost of one clip; one multiply-add is one FLOP.

    MMEngine counts the network by tracing it. The blocks are counted by
    PyTorch, since a trace includes products that only serve speed, and does
    not include those of STSS.

    Args:
        cfg (Config): A config with a recognizer; its weights are not loaded.
        size (Sequence[int]): Height and width of the frames.
            Defaults to (224, 224).

    Returns:
        dict[str, int]: ``params``, ``flops``, and ``stss_flops``, the
        products of STSS, which ``flops`` do not include: L * U * V * C for
        each position of a frame.
    """
    model_cfg = copy.deepcopy(cfg.model)
    if 'pretrained' in model_cfg.backbone:
        model_cfg.backbone.pretrained = None
    with DefaultScope.overwrite_default_scope(
            cfg.get('default_scope', 'mmaction')):
        model = MODELS.build(model_cfg)
    model.eval()
    model.forward = lambda clip: model._forward(clip, stage='head')

    sizes = {}
    for block in model.modules():
        if isinstance(block, ResidualBlock):
            whole = copy.deepcopy(block)
            block.forward = lambda x: x

            def keep_size(_, args: tuple, __, whole: nn.Module = whole):
                sizes[whole] = tuple(map(int, args[0].shape[1:]))

            block.register_forward_hook(keep_size)

    # A network for any number of frames is counted on one frame.
    clip = torch.zeros(1, clip_frames(cfg) or 1, 3, *size)
    if isinstance(model, Recognizer3D):
        # [1, T, 3, H, W] => [1, 1, 3, T, H, W], one view
        clip = clip.transpose(1, 2)[:, None]
    analyzer = FlopAnalyzer(model, (clip, ))
    analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    with torch.no_grad(), warnings.catch_warnings():
        # of constants in the trace, which runs once
        warnings.simplefilter('ignore', torch.jit.TracerWarning)
        flops = int(analyzer.total())
    counts = [count_block(block, *size) for block, size in sizes.items()]
    return dict(
        flops=flops + sum(count[0] for count in counts),
        stss_flops=sum(count[1] for count in counts),
        params=parameter_count(model)[''])


def count_block(block: ResidualBlock, C: int, H: int,
                W: int) -> tuple[int, int]:
    """Multiply-adds of a block's layers, and those of its STSS.

    Args:
        block (ResidualBlock): A SELFYBlock or a MOSSBlock.
        C (int): Channels of its feature map.
        H (int): Height of its feature map.
        W (int): Width of its feature map.
    """
    local_products = torch.ops.selfy.local_products

    def count_products(q: Sequence[int], *_, out_shape: Sequence[int]) -> int:
        return 2 * prod(out_shape) * q[-1]

    x = torch.empty(block.num_segments, C, H, W, device='meta')
    with torch.no_grad(), FlopCounterMode(
            display=False, custom_mapping={local_products:
                                           count_products}) as counter:
        copy.deepcopy(block).to('meta')(x)
    # The additions are operations of their own there.
    counts = {
        op: count // 2
        for op, count in counter.get_flop_counts()['Global'].items()
    }
    products = counts.pop(local_products)
    return sum(counts.values()), products
