"""A small block, and what is asked of every network that has blocks."""
import torch
from torch import nn

from selfy_mmaction.models import MOSSBlock, SELFYBlock

SELFY = dict(
    type='SELFYBlock',
    mid_channels=8,
    window=(3, 5, 5),
    extraction=dict(type='STSSConvExtraction', channels=(2, 4, 4)),
    integration=dict(type='STSSConvIntegration', channels=(4, 4)))


def awaken(net):
    """Give the blocks a scale other than the initial zero."""
    for module in net.modules():
        if isinstance(module, SELFYBlock):
            nn.init.ones_(module.residual_add.bn.weight)
        elif isinstance(module, MOSSBlock):
            nn.init.ones_(module.scale.weight)
    return net


def assert_learns(net, x):
    """Every parameter receives a gradient."""
    out = net(x)
    (out * torch.randn_like(out)).sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-6, name
