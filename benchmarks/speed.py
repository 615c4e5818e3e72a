"""Time and memory of the op, the block and whole networks.

What is compared runs in turn, in one process, and medians are compared; the
floor of a time is what its multiply-adds take at the rate of a 1024-cube
matrix product that was measured in between.
"""
import copy
import tempfile
from collections.abc import Callable, Sequence
from functools import partial

import torch
from kernels import benchmark_kernels
from mmaction.registry import MODELS
from mmengine.registry import DefaultScope
from stopwatch import (
    Stopwatch,
    check_parity,
    kept_bytes,
    peak_bytes,
    show_time,
)
from torch import Tensor, nn

from selfy_mmaction.apis.export import ClipClassifier, write_model
from selfy_mmaction.apis.onnx import ONNXClassifier
from selfy_mmaction.evaluation.complexity import count_block
from selfy_mmaction.models import SELFYBlock
from selfy_mmaction.ops import stss
from selfy_mmaction.ops.reference import stss_einsum

CLIP = dict(frames=8, height=28, width=28, channels=512)
# [N, T, C, H, W]: SELFYNet's, and those of models with copies of the op.
FEATURES = [(2, 8, 128, 14, 14), (2, 4, 512, 16, 16), (1, 8, 128, 32, 32)]
DEPLOYED = dict(
    type='Recognizer2D',
    backbone=dict(type='ResNetSELFY', depth=50),
    cls_head=dict(
        type='TSMHead', num_classes=174, in_channels=2048, num_segments=8),
    data_preprocessor=dict(
        type='ActionDataPreprocessor', mean=[0] * 3, std=[1] * 3))


def _train_step(module: nn.Module, x: Tensor) -> Callable[[], None]:
    """Forward and backward of a module, and of nothing else."""
    inputs = [p for p in (x, *module.parameters()) if p.requires_grad]
    cotangent = torch.randn_like(module(x))
    return lambda: torch.autograd.grad(module(x), inputs, cotangent)


def benchmark_op(watch: Stopwatch) -> list[list[str]]:
    """STSS alone against einsum and diagonals."""
    return [row for shape in FEATURES for row in _compare_op(watch, shape)]


def _compare_op(watch: Stopwatch, shape: Sequence[int]) -> list[list[str]]:
    x = torch.randn(shape, device=watch.device)
    cotangent = torch.randn_like(stss(x))

    def gradient(function: Callable[[Tensor], Tensor]) -> Tensor:
        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(function(leaf), leaf, cotangent)[0]

    rows = []
    for what, ours, theirs in (
        ('forward', partial(stss, x), partial(stss_einsum, x)),
        ('forward + backward', partial(gradient,
                                       stss), partial(gradient, stss_einsum)),
    ):
        check_parity(ours(), theirs(), f'stss, {what},')
        t = watch.times(ours=ours, theirs=theirs)
        peaks = [peak_bytes(f, watch.device) / 1e6 for f in (ours, theirs)]
        name = f'stss, {what}, {list(shape)}'
        rows += [[
            name,
            show_time(t['ours']),
            f'{t["theirs"] / t["ours"]:.1f} x faster than einsum + diagonals '
            f'({show_time(t["theirs"])})'
        ],
                 [
                     f'{name}, peak memory', f'{peaks[0]:.0f} MB',
                     f'{peaks[1] / peaks[0]:.1f} x less than einsum + '
                     f'diagonals ({peaks[1]:.0f} MB)'
                 ]]
    return rows


def benchmark_growth(watch: Stopwatch) -> list[list[str]]:
    """How time and memory of STSS grow with the map and with the frames."""
    rows = []
    for name, shapes in (
        ('14 x 14 to 56 x 56', [(8, 14), (8, 28), (8, 56)]),
        ('8 to 64 frames', [(8, 14), (16, 14), (32, 14), (64, 14)]),
    ):
        clips = {
            str(T * S * S): torch.randn(1, T, 128, S, S, device=watch.device)
            for T, S in shapes
        }
        with torch.no_grad():
            seconds = watch.times(**{
                size: partial(stss, clip)
                for size, clip in clips.items()
            })
            peaks = {
                size: peak_bytes(partial(stss, clip), watch.device)
                for size, clip in clips.items()
            }
        largest = list(clips)[-1]
        for what, measured, values in (
            ('forward', show_time(seconds[largest]), seconds),
            ('peak memory', f'{peaks[largest] / 1e6:.0f} MB', peaks),
        ):
            power = _power([(int(size), values[size]) for size in clips])
            rows.append([
                f'stss, {what}, from {name}', measured,
                f'grows with power {power:.2f}'
            ])
    return rows


def _power(points: Sequence[tuple[float, float]]) -> float:
    """Slope of a line through points, on logarithmic axes."""
    x, y = torch.tensor(points, dtype=torch.float64).log().T
    x = x - x.mean()
    return (x @ y / (x @ x)).item()


def benchmark_block(watch: Stopwatch) -> list[list[str]]:
    """The block on two clips, against the floor of its multiply-adds."""
    T, H, W, C = CLIP.values()
    block = SELFYBlock(C, T).to(watch.device)
    nn.init.ones_(block.residual_add.bn.weight)
    x = torch.randn(2 * T, C, H, W, device=watch.device).relu()
    last = copy.deepcopy(block).to(memory_format=torch.channels_last)
    blocks = {
        'block': (block, x),
        'block, channels last': (last, x.to(memory_format=torch.channels_last))
    }
    macs, _ = count_block(block, H, W)
    rows = _time_blocks(watch, blocks, 2 * macs, training=False)
    rows += _time_blocks(watch, blocks, 2 * macs, training=True)
    rows.append([
        'block, peak memory of a training step, the same',
        f'{peak_bytes(_train_step(block, x), watch.device) / 1e6:.0f} MB', ''
    ])
    for name, (module, features) in blocks.items():
        rows.append(_kept_row(f'{name}, kept for backward', module, features))
    block.with_cp = True
    rows.append(_kept_row('block, kept for backward, with_cp=True', block, x))
    return rows


def _time_blocks(watch: Stopwatch, blocks: dict[str, tuple[nn.Module, Tensor]],
                 macs: int, training: bool) -> list[list[str]]:
    """Rows of the block, the first, and of what it is compared with.

    Args:
        watch (Stopwatch): Times them in turn.
        blocks (dict): The modules and their features, by name.
        macs (int): Multiply-adds of a forward pass.
        training (bool): Whether to time training steps, or evaluation.
    """
    steps = {}
    for name, (module, x) in blocks.items():
        module.train(training), x.requires_grad_(training)
        steps[name] = _train_step(module, x) if training else partial(
            module, x)
    with torch.set_grad_enabled(training):
        t = watch.times(**steps)
    what, floors, factor = (('training step', 'three floors',
                             3) if training else
                            ('evaluation', 'the floor', 1))
    first, *others = blocks
    ratio = t[first] * watch.macs_per_second / (factor * macs)
    return [[
        f'{first}, {what}, 2 clips of {" x ".join(map(str, CLIP.values()))}',
        show_time(t[first]), f'{ratio:.2f} x {floors}'
    ], *([
        f'{name}, {what}, the same',
        show_time(t[name]), f'{t[name] / t[first]:.2f} x the {first}'
    ] for name in others)]


def _kept_row(name: str, module: nn.Module, x: Tensor) -> list[str]:
    return [name, f'{kept_bytes(lambda: module(x)) / 2e6:.0f} MB per clip', '']


def benchmark_network(watch: Stopwatch) -> list[list[str]]:
    """SELFYNet-TSM-R50 against TSM-R50, one clip of 8 x 224 x 224."""
    with DefaultScope.overwrite_default_scope('mmaction'):
        selfynet, tsm = (
            MODELS.build(
                dict(
                    type='ResNetSELFY',
                    depth=50,
                    num_segments=8,
                    selfy_indices=indices)).to(watch.device)
            for indices in ((1, ), ()))
    x = torch.randn(8, 3, 224, 224, device=watch.device)
    tsm.load_state_dict({
        k: v
        for k, v in selfynet.state_dict().items() if 'selfy' not in k
    })
    selfynet.eval(), tsm.eval()
    rows = []
    with torch.no_grad():
        check_parity(selfynet(x), tsm(x), 'SELFYNet at its start')
        t = watch.times(selfynet=lambda: selfynet(x), tsm=lambda: tsm(x))
    rows.append(_network_row('evaluation', t))
    selfynet.train(), tsm.train()
    t = watch.times(selfynet=_train_step(selfynet, x), tsm=_train_step(tsm, x))
    return [*rows, _network_row('training step', t)]


def _network_row(name: str, t: dict[str, float]) -> list[str]:
    return [
        f'SELFYNet-TSM-R50, {name}, 1 clip of 8 x 224 x 224',
        show_time(t['selfynet']),
        f'{t["selfynet"] / t["tsm"]:.2f} x its TSM ({show_time(t["tsm"])})'
    ]


def benchmark_deployed(watch: Stopwatch) -> list[list[str]]:
    """SELFYNet-TSM-R50 in ONNX Runtime against PyTorch, on the CPU."""
    with DefaultScope.overwrite_default_scope('mmaction'):
        recognizer = MODELS.build(DEPLOYED).eval()
    nn.init.ones_(recognizer.backbone.selfy['layer2'].residual_add.bn.weight)
    eager = ClipClassifier(recognizer, raw=False)
    shape = (8, 3, 224, 224)
    with tempfile.TemporaryDirectory() as folder:
        path = f'{folder}/model.onnx'
        write_model(recognizer, path, shape, fuse=True)
        deployed = ONNXClassifier(path)
    clip = torch.randn(1, *shape)
    with torch.no_grad():
        check_parity(deployed(clip), eager(clip), 'the ONNX model')
        t = watch.times(
            deployed=lambda: deployed(clip), eager=lambda: eager(clip))
    return [[
        'SELFYNet-TSM-R50, evaluation in ONNX Runtime on the CPU, 1 clip of '
        '8 x 224 x 224',
        show_time(t['deployed']),
        f'{t["eager"] / t["deployed"]:.2f} x faster than PyTorch '
        f'({show_time(t["eager"])})'
    ]]


PARTS = dict(
    kernels=benchmark_kernels,
    op=benchmark_op,
    growth=benchmark_growth,
    block=benchmark_block,
    network=benchmark_network,
    deployed=benchmark_deployed)
