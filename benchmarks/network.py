"""SELFYNet-TSM-R50 against its TSM, and in ONNX Runtime."""
import tempfile

import torch
from measure import check_parity, compare, compare_modules
from mmaction.registry import MODELS
from mmengine.registry import DefaultScope
from torch import nn

from selfy_mmaction.apis.export import ClipClassifier, write_model
from selfy_mmaction.apis.onnx import ONNXClassifier

BACKBONE = dict(type='ResNetSELFY', depth=50, num_segments=8)
RECOGNIZER = dict(
    type='Recognizer2D',
    backbone=BACKBONE,
    cls_head=dict(
        type='TSMHead', num_classes=174, in_channels=2048, num_segments=8),
    data_preprocessor=dict(
        type='ActionDataPreprocessor', mean=[0] * 3, std=[1] * 3))
# A clip, [T, 3, H, W]
CLIP = (8, 3, 224, 224)


def _build(cfg: dict) -> nn.Module:
    with DefaultScope.overwrite_default_scope('mmaction'):
        return MODELS.build(cfg)


def benchmark(device: torch.device, rounds: int) -> list[list[str]]:
    """Evaluation and training step of the networks."""
    selfynet = _build(BACKBONE).to(device).eval()
    tsm = _build(dict(BACKBONE, selfy_indices=())).to(device).eval()
    weights = selfynet.state_dict()
    tsm.load_state_dict({k: weights[k] for k in tsm.state_dict()})
    x = torch.randn(CLIP, device=device)
    with torch.no_grad():
        check_parity(selfynet(x), tsm(x), 'SELFYNet at its start')
    return compare_modules(f'ResNet-50, 1 clip of {list(CLIP)}', {
        'TSM': (tsm, x),
        'SELFYNet': (selfynet, x)
    }, device, rounds)


def benchmark_onnx(device: torch.device, rounds: int) -> list[list[str]]:
    """The recognizer in ONNX Runtime against PyTorch, both on the CPU."""
    recognizer = _build(RECOGNIZER).eval()
    for block in recognizer.backbone.selfy.values():
        nn.init.ones_(block.residual_add.bn.weight)
    eager = ClipClassifier(recognizer, raw=False)
    with tempfile.TemporaryDirectory() as folder:
        write_model(recognizer, f'{folder}/model.onnx', CLIP, fuse=True)
        deployed = ONNXClassifier(f'{folder}/model.onnx')
    clip = torch.randn(1, *CLIP)
    with torch.no_grad():
        check_parity(deployed(clip), eager(clip), 'the ONNX model')
        return compare(
            f'SELFYNet-TSM-R50, evaluation on the CPU, 1 clip of {list(CLIP)}',
            {
                'PyTorch': lambda: eager(clip),
                'ONNX Runtime': lambda: deployed(clip)
            }, torch.device('cpu'), rounds)
