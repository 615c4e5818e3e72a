"""Conversion of weights from other code bases to the names used here.

Pure functions on state dicts that need only torch. The networks are
torchvision's ResNets inside DataParallel: those of the official code, with a
SELFY block between the second and the third stage or without (TSM), and those
of TSM's own code (mit-han-lab/temporal-shift-module). A MOSSBlock is
converted separately.
"""
import math
import re
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor

_SELFY = 'backbone.selfy.layer2.'
_BLOCK = r'base_model\.(layer\d\.\d+)\.'
# The official code shifts the first convolution of every block. TSM's code
# shifts those that are named `net`; a TSN has none.
_OFFICIAL_SHIFT = (rf'{_BLOCK}conv1\.', r'backbone.\1.conv1.conv.net.')
_TSM_SHIFT = (rf'{_BLOCK}conv1\.net\.', r'backbone.\1.conv1.conv.net.')
_RULES: Sequence[tuple[str, str]] = [
    # the ResNet
    (r'base_model\.conv1\.', 'backbone.conv1.conv.'),
    (r'base_model\.bn1\.', 'backbone.conv1.bn.'),
    (rf'{_BLOCK}conv(\d)\.', r'backbone.\1.conv\2.conv.'),
    (rf'{_BLOCK}bn(\d)\.', r'backbone.\1.conv\2.bn.'),
    (rf'{_BLOCK}downsample\.0\.', r'backbone.\1.downsample.conv.'),
    (rf'{_BLOCK}downsample\.1\.', r'backbone.\1.downsample.bn.'),
    # the SELFY block
    (r'base_model\.selfy\.stss_transformation\.downsample\.0\.',
     f'{_SELFY}transformation.downsample.conv.'),
    (r'base_model\.selfy\.stss_transformation\.downsample\.1\.',
     f'{_SELFY}transformation.downsample.bn.'),
    (r'base_model\.selfy\.stss_(\w+)\.conv(\d)\.0\.',
     rf'{_SELFY}\1.convs.\2.conv.'),
    (r'base_model\.selfy\.stss_(\w+)\.conv(\d)\.1\.',
     rf'{_SELFY}\1.convs.\2.bn.'),
    (r'base_model\.selfy\.stss_integration\.conv3_fuse\.1\.',
     f'{_SELFY}integration.fuse.conv.'),
    (r'base_model\.selfy\.stss_integration\.conv3_fuse\.2\.',
     f'{_SELFY}integration.fuse.bn.'),
    (r'base_model\.selfy\.stss_integration\.upsample\.0\.',
     f'{_SELFY}residual_add.conv.'),
    (r'base_model\.selfy\.stss_integration\.upsample\.1\.',
     f'{_SELFY}residual_add.bn.'),
    # the classifier: the network's own fc1 if there is no dropout
    (r'(new_fc|base_model\.fc1)\.', 'cls_head.fc_cls.'),
]
_PARAMETERS = ('weight', 'bias', 'running_mean', 'running_var',
               'num_batches_tracked')


def _is_of_tsm(state_dict: dict) -> bool:
    """Whether TSM's own code saved a state dict.

    Its classifier is linear, that of the official code a Conv1d.
    """
    return any(
        isinstance(key, str) and (
            '.conv1.net.' in key or key.endswith('new_fc.weight')
            and isinstance(tensor, Tensor) and tensor.dim() == 2)
        for key, tensor in state_dict.items())


def _convert_key(key: str, rules: Sequence[tuple[str, str]]) -> str | None:
    """The recognizer's name for a key, None if it is unknown."""
    stem, _, parameter = key.rpartition('.')
    if parameter not in _PARAMETERS:
        return None
    stem = f'{stem}.'.removeprefix('module.')
    for pattern, replacement in rules:
        match = re.fullmatch(pattern, stem)
        if match:
            return match.expand(replacement) + parameter
    return None


def _convert_tensor(key: str, tensor: Tensor) -> Tensor:
    """An official tensor in the shape of ours; ``key`` is our name."""
    if key.endswith('fc_cls.weight') and tensor.dim() == 3:
        # Conv1d => Linear: [classes, C, 1] => [classes, C]
        return tensor.squeeze(-1)
    if key.endswith('residual_add.conv.weight') and tensor.dim() == 5:
        # transposed Conv3d => Conv2d: [in, out, 1, 1, 1] => [out, in, 1, 1]
        return tensor.squeeze(2).transpose(0, 1).contiguous()
    if '.selfy.' in key and tensor.dim() == 5:
        # Conv3d => Conv2d: [out, in, 1, 3, 3] => [out, in, 3, 3]
        return tensor.squeeze(2)
    return tensor


def convert_official_state_dict(
        state_dict: dict) -> 'OrderedDict[str, Tensor]':
    """Convert a state dict of the official code or of TSM's code.

    Args:
        state_dict (dict): Keys ('module.base_model...', 'module.new_fc...')
            to tensors, of a SELFYNet or TSM of the official code, or of a TSM
            or TSN of TSM's code; with or without the 'module.' of
            DataParallel.

    Returns:
        OrderedDict: Keys of a Recognizer2D with a ResNetSELFY (or, without
        a SELFY block, a ResNetTSM) and a TSMHead, to tensors.

    Raises:
        ValueError: If there are keys that neither code writes, or if
            MMAction2 does not have the network.
    """
    is_of_tsm = _is_of_tsm(state_dict)
    rules = [_TSM_SHIFT if is_of_tsm else _OFFICIAL_SHIFT, *_RULES]
    converted, unknown = OrderedDict(), []
    for key, tensor in state_dict.items():
        new_key = _convert_key(key, rules) if isinstance(key, str) else None
        if new_key is None or not isinstance(tensor, Tensor):
            unknown.append(key)
        else:
            converted[new_key] = _convert_tensor(new_key, tensor)
    if unknown or not converted:
        found = ', '.join(map(repr, unknown[:3])) or 'no key at all'
        more = f' and {len(unknown) - 3} more' if len(unknown) > 3 else ''
        raise ValueError(
            "Not a state dict of the official SELFY or TSM code: it has "
            f"{found}{more}, where keys begin with 'module.base_model.' or "
            "'module.new_fc.'.")
    if not is_of_tsm and any('layer3.22.' in key for key in converted):
        raise ValueError(
            'It is a ResNet-101 of the official code, which shifts every '
            "block, where MMAction2's shifts every second one: it cannot be "
            'converted.')
    return converted


_MOSS_RULES: Sequence[tuple[str, str]] = [
    (r'ln_pre\.', 'norm.'),
    (r'(in_proj|out_proj)\.', r'\1.'),
    (r'stss_(extraction|integration)\.conv(\d)\.0\.', r'\1.convs.\2.conv.'),
    (r'stss_(extraction|integration)\.conv(\d)\.1\.', r'\1.convs.\2.bn.'),
    (r'stss_integration\.conv2_fuse\.1\.', 'integration.fuse.conv.'),
    (r'stss_integration\.conv2_fuse\.2\.', 'integration.fuse.bn.'),
]


def _convert_moss_key(key: str) -> str | None:
    """Our name for a key of the authors' MOSSBlock, None if unknown."""
    match = re.fullmatch(r'stss_encoders\.(\d+)\.(.+\.)(\w+)', key)
    if not match or match[3] not in _PARAMETERS:
        return None
    for pattern, replacement in _MOSS_RULES:
        stem = re.fullmatch(pattern, match[2])
        if stem:
            return f'encoders.{match[1]}.{stem.expand(replacement)}{match[3]}'
    return None


def convert_moss_state_dict(state_dict: dict) -> 'OrderedDict[str, Tensor]':
    """Convert the weights of one MOSSBlock of its authors' code.

    Args:
        state_dict (dict): Keys of their block ('stss_encoders.0...') to
            tensors.

    Returns:
        OrderedDict: Keys of a :class:`MOSSBlock` to tensors. Their block does
        not scale what it adds: the scale is 1.

    Raises:
        ValueError: If there are keys that their block does not have.
    """
    converted, channels = OrderedDict(), None
    for key, tensor in state_dict.items():
        new_key = _convert_moss_key(key)
        if new_key is None:
            raise ValueError(
                f'Not the state dict of a MOSSBlock: it has {key!r}, where '
                "keys begin with 'stss_encoders.': pass only the weights of "
                'the block, without prefix.')
        if tensor.dim() == 5 and '.extraction.' in new_key:
            # [C, U * V, 1, 1, 1] => [C, 1, U, V]; their windows are square
            side = math.isqrt(tensor.shape[1])
            tensor = tensor.view(-1, 1, side, side)
        elif tensor.dim() == 5:
            # Conv3d => Conv2d: [out, in, 1, 3, 3] => [out, in, 3, 3]
            tensor = tensor.squeeze(2)
        elif new_key.endswith('out_proj.bias'):
            channels = tensor
        converted[new_key] = tensor
    if channels is None:
        raise ValueError('Not the state dict of a MOSSBlock: it has no '
                         "'stss_encoders.0.out_proj.bias'.")
    # [C] => [C, 1, 1, 1]
    converted['scale.weight'] = torch.ones_like(channels)[:, None, None, None]
    return converted
