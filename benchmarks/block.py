"""The block alone: channels first and last, and with recomputing."""
import copy

import torch
from measure import compare_modules, kept_bytes
from torch import nn

from selfy_mmaction.models import SELFYBlock

# [N * T, C, H, W], after res3 of a ResNet-50; frames per clip
FEATURES, FRAMES = (16, 512, 28, 28), 8


def benchmark(device: torch.device, rounds: int) -> list[list[str]]:
    """Evaluation, training step, and what is kept for backward."""
    x = torch.randn(FEATURES, device=device).relu().requires_grad_()
    block = SELFYBlock(FEATURES[1], FRAMES).to(device)
    nn.init.ones_(block.residual_add.bn.weight)
    last = torch.channels_last
    modules = {
        'channels first': (block, x),
        'channels last': (copy.deepcopy(block).to(memory_format=last),
                          x.detach().to(memory_format=last).requires_grad_())
    }
    what = f'block, {list(FEATURES)}'
    rows = compare_modules(what, modules, device, rounds)
    for how, with_cp in ('kept', False), ('recomputed', True):
        block.with_cp = with_cp
        kept = f'{kept_bytes(lambda: block(x)) / 1e6:.0f} MB'
        rows.append(
            [f'{what}, activations {how}', 'for backward', '', '', kept])
    return rows
