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

from ..datasets.recipes import clip_frames
from ..models import MOSSBlock
from ..models.selfy_block import ResidualBlock


def get_complexity(
    cfg: Config, size: Sequence[int] = (224, 224)) -> dict[str, int]:
    """Count the cost of one clip; one multiply-add is one FLOP.

    MMEngine counts the network by tracing it. The blocks are counted here,
    from the sizes of their layers, since a trace includes products that only
    serve speed, and does not include those of STSS.

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
            block.forward = lambda x: x
            block.register_forward_hook(lambda block, args, _: sizes.update(
                {block: tuple(map(int, args[0].shape[-2:]))}))

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


def count_block(block: ResidualBlock, H: int, W: int) -> tuple[int, int]:
    """Multiply-adds of a block's layers, and of its STSS.

    Args:
        block (ResidualBlock): A SELFYBlock or a MOSSBlock.
        H (int): Height of its feature map.
        W (int): Width of its feature map.
    """
    T = block.num_segments
    if isinstance(block, MOSSBlock):
        flops = stss_flops = 0
        for encoder in block.encoders:
            for layer in encoder.in_proj, encoder.out_proj:
                flops += _count_layers(layer, T * H * W, 1, 1)[0]
            counts = _count_stss(encoder, encoder.window,
                                 encoder.in_proj.out_features, T, H, W)
            flops, stss_flops = flops + counts[0], stss_flops + counts[1]
        return flops, stss_flops
    downsample = block.transformation.downsample
    flops, h, w = _count_layers(downsample, T, H, W)
    flops += _count_layers(block.residual_add, T, h, w)[0]
    counts = _count_stss(block, block.transformation.window,
                         downsample.conv.out_channels, T, h, w)
    return flops + counts[0], counts[1]


def _count_stss(module: nn.Module, window: tuple[int, int, int], channels: int,
                T: int, h: int, w: int) -> tuple[int, int]:
    """Multiply-adds of extraction and integration, and those of STSS."""
    L, U, V = window
    flops = _count_layers(module.extraction, T * h * w * L, U, V)[0]
    flops += _count_layers(module.integration.convs, T * L, h, w)[0]
    flops += _count_layers(module.integration.fuse, T, h, w)[0]
    return flops, T * h * w * prod(window) * channels


def _count_layers(module: nn.Module, maps: int, h: int,
                  w: int) -> tuple[int, int, int]:
    """Multiply-adds of consecutive layers, and the size of their output.

    Args:
        module (nn.Module): It contains them in the order of their use.
        maps (int): Number of maps.
        h (int): Height of a map.
        w (int): Width of a map.
    """
    flops = 0
    for layer in module.modules():
        if isinstance(layer, nn.Linear):  # over a whole map
            flops += maps * layer.weight.numel()
        elif isinstance(layer, nn.Conv2d):
            h, w = ((n + 2 * padding - kernel) // stride + 1
                    for n, padding, kernel, stride in zip((h, w),
                                                          layer.padding,
                                                          layer.kernel_size,
                                                          layer.stride,
                                                          strict=True))
            flops += maps * h * w * layer.weight.numel()
    return flops, h, w
