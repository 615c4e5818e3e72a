"""The official code's checkpoints, made up: weights that follow from names.

No trained SELFY weights are public. Every array depends on its own key
alone, which is how the golden numbers in tests/data were computed with the
official code.
"""
import json
import math
import re
import zlib
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).resolve().parents[1] / 'data'
LAYOUTS = json.loads((DATA / 'official_keys.json').read_text())


def official_tensor(key, shape):
    """The tensor that stands for ``key``."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith('num_batches_tracked'):
        return torch.zeros(shape, dtype=torch.int64)
    if key.endswith('running_var') or (len(shape) == 1
                                       and key.endswith('.weight')):
        array = rng.uniform(0.5, 1.5, shape)
    elif len(shape) == 1:
        array = 0.1 * rng.standard_normal(shape)
    else:
        array = rng.standard_normal(shape)
        array *= math.sqrt(2 / math.prod(shape[1:]))
        array -= array.mean(axis=tuple(range(1, len(shape))), keepdims=True)
    return torch.from_numpy(array.astype(np.float32))


def official_state_dict(layout):
    """What the official code saves: 'selfy' for a SELFYNet, 'tsm'."""
    return {key: official_tensor(key, shape) for key, shape in LAYOUTS[layout]}


def tsm_code_state_dict(shift=True, classes=174, depth=50):
    """What TSM's own code saves of a TSM or TSN."""
    official = official_state_dict('tsm')
    if depth == 101:
        # 23 blocks in the third stage, for 6
        official |= {
            key.replace('.5.', f'.{block}.'): tensor
            for key, tensor in official.items() if 'layer3.5.' in key
            for block in range(6, 23)
        }
    state_dict = {}
    for key, tensor in official.items():
        block = re.search(r'layer\d\.(\d+)', key)
        if 'new_fc.' in key:
            # Conv1d => Linear: [174, C, 1] => [classes, C]
            tensor = torch.cat([tensor] * 3)[:classes].squeeze(-1)
        # of the deeper network every second block
        elif block and shift and (depth == 50 or int(block[1]) % 2 == 0):
            key = key.replace('.conv1.', '.conv1.net.')
        state_dict[key] = tensor
    return state_dict


def standard_normal(seed, *shapes):
    """The inputs of the golden numbers, in the order they were drawn."""
    rng = np.random.default_rng(seed)
    return [
        torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
        for shape in shapes
    ]
