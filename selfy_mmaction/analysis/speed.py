"""Time and memory of the op, the block and whole networks.

What is compared runs in turn, in one process, and medians are compared; the
floor of a time is what its multiply-adds take at the rate of a 1024-cube
matrix product that was measured in between.
"""
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from mmaction.registry import MODELS
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from ..apis.onnx import ClipClassifier, ONNXClassifier, write_model
from ..models import SELFYBlock
from ..ops import stss
from ..ops.reference import stss_einsum

CLIP = dict(frames=8, height=28, width=28, channels=512)
# Multiply-adds of the block for one such clip.
BLOCK_MACS = 3.21e9


class Benchmark:
    """Runs functions in turn and keeps the median of their times.

    Args:
        device (torch.device): Where to run.
        rounds (int): How often each function runs, after one warm-up.
    """

    def __init__(self, device: torch.device, rounds: int):
        self.device, self.rounds = device, rounds

    def times(self, **functions: Callable[[], object]) -> dict[str, float]:
        """Median seconds of each function, and of the matrix product."""
        size = 1024 if self.device.type == 'cpu' else 4096
        a, b = torch.randn(2, size, size, device=self.device)
        functions = dict(functions, sgemm=lambda: a @ b)
        seconds = {name: [] for name in functions}
        for function in functions.values():
            self._time(function)
        for _ in range(self.rounds):
            for name, function in functions.items():
                seconds[name].append(self._time(function))
        median = {k: statistics.median(v) for k, v in seconds.items()}
        self.macs_per_second = size**3 / median['sgemm']
        return median

    def _time(self, function: Callable[[], object]) -> float:
        self._synchronize()
        start = time.perf_counter()
        function()
        self._synchronize()
        return time.perf_counter() - start

    def _synchronize(self) -> None:
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)


def kept_bytes(forward: Callable[[], Tensor]) -> int:
    """Bytes that autograd keeps for backward, each storage once."""
    storages = {}

    def pack(x: Tensor) -> Tensor:
        if not isinstance(x, nn.Parameter):
            storage = x.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        out = forward()
    del out
    return sum(storages.values())


def peak_bytes(function: Callable[[], object], device: torch.device) -> int:
    """Most bytes that a function's tensors take at a time."""
    if device.type == 'cuda':
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        function()
        return torch.cuda.max_memory_allocated(device) - before
    with torch.profiler.profile(profile_memory=True) as profile:
        function()
    now = peak = 0
    # The profiler's own events leave allocations out.
    events = profile.profiler.kineto_results.events()
    for event in sorted(events, key=lambda event: event.start_ns()):
        if event.name() == '[memory]':
            now += event.nbytes()
            peak = max(peak, now)
    return peak


def check_parity(ours: Tensor, theirs: Tensor, what: str) -> None:
    """Raise unless two ways to compute the same agree in float32."""
    try:
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    except AssertionError as error:
        raise ValueError(
            f'{what} differs from what it is compared with, so no speed is '
            f'reported: {str(error).splitlines()[0]}') from error


def _train_step(module: nn.Module, x: Tensor) -> Callable[[], None]:
    """Forward and backward of a module, and of nothing else."""
    inputs = [p for p in (x, *module.parameters()) if p.requires_grad]
    cotangent = torch.randn_like(module(x))
    return lambda: torch.autograd.grad(module(x), inputs, cotangent)


def benchmark_op(bench: Benchmark) -> list[list[str]]:
    """STSS alone against einsum and diagonals, two clips of 14 x 14."""
    x = torch.randn(2, 8, 128, 14, 14, device=bench.device)
    with torch.no_grad():
        check_parity(stss(x), stss_einsum(x), 'stss')
        forward = bench.times(
            ours=lambda: stss(x), theirs=lambda: stss_einsum(x))
    x.requires_grad_()
    cotangent = torch.randn_like(stss(x))

    def gradient(function):
        return torch.autograd.grad(function(x), x, cotangent)[0]

    check_parity(
        gradient(stss), gradient(stss_einsum), 'the gradient of stss')
    both = bench.times(
        ours=lambda: gradient(stss), theirs=lambda: gradient(stss_einsum))
    return [[
        f'stss, {name}, 2 clips of 8 x 14 x 14 x 128',
        f'{1e3 * t["ours"]:.1f} ms',
        f'{t["theirs"] / t["ours"]:.1f} x faster than einsum + diagonals '
        f'({1e3 * t["theirs"]:.1f} ms)'
    ] for name, t in (('forward', forward), ('forward + backward', both))]


def benchmark_growth(bench: Benchmark) -> list[list[str]]:
    """How time and memory of STSS grow with the map and with the frames."""
    rows = []
    for name, shapes in (
        ('14 x 14 to 56 x 56', [(8, 14), (8, 28), (8, 56)]),
        ('8 to 64 frames', [(8, 14), (16, 14), (32, 14), (64, 14)]),
    ):
        clips = {
            str(T * S * S): torch.randn(1, T, 128, S, S, device=bench.device)
            for T, S in shapes
        }
        with torch.no_grad():
            seconds = bench.times(**{
                size: partial(stss, clip) for size, clip in clips.items()
            })
            peaks = {
                size: peak_bytes(partial(stss, clip), bench.device)
                for size, clip in clips.items()
            }
        largest = list(clips)[-1]
        for what, measured, values in (
            ('forward', f'{1e3 * seconds[largest]:.1f} ms', seconds),
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


def benchmark_block(bench: Benchmark) -> list[list[str]]:
    """The block on two clips, against the floor of its multiply-adds."""
    T, H, W, C = CLIP.values()
    block = SELFYBlock(C, T).to(bench.device)
    nn.init.ones_(block.residual_add.bn.weight)
    x = torch.randn(2 * T, C, H, W, device=bench.device).relu()
    block.eval()
    with torch.no_grad():
        evaluation = bench.times(block=lambda: block(x))['block']
    floor = 2 * BLOCK_MACS / bench.macs_per_second
    rows = [[
        'block, evaluation, 2 clips of 8 x 28 x 28 x 512',
        f'{1e3 * evaluation:.0f} ms', f'{evaluation / floor:.2f} x the floor'
    ]]
    block.train()
    x.requires_grad_()
    training = bench.times(block=_train_step(block, x))['block']
    floor = 2 * BLOCK_MACS / bench.macs_per_second
    rows.append([
        'block, training step, the same', f'{1e3 * training:.0f} ms',
        f'{training / floor / 3:.2f} x three floors'
    ])
    step = _train_step(block, x)
    rows.append([
        'block, peak memory of a training step, the same',
        f'{peak_bytes(step, bench.device) / 1e6:.0f} MB', ''
    ])
    for with_cp in (False, True):
        block.with_cp = with_cp
        rows.append([
            f'block, kept for backward, with_cp={with_cp}',
            f'{kept_bytes(lambda: block(x)) / 2e6:.0f} MB per clip', ''
        ])
    return rows


def benchmark_network(bench: Benchmark) -> list[list[str]]:
    """SELFYNet-TSM-R50 against TSM-R50, one clip of 8 x 224 x 224."""
    with DefaultScope.overwrite_default_scope('mmaction'):
        selfynet, tsm = (
            MODELS.build(
                dict(
                    type='ResNetSELFY',
                    depth=50,
                    num_segments=8,
                    selfy_indices=indices)).to(bench.device)
            for indices in ((1, ), ()))
    x = torch.randn(8, 3, 224, 224, device=bench.device)
    tsm.load_state_dict(
        {k: v for k, v in selfynet.state_dict().items() if 'selfy' not in k})
    selfynet.eval(), tsm.eval()
    rows = []
    with torch.no_grad():
        check_parity(selfynet(x), tsm(x), 'SELFYNet at its start')
        t = bench.times(selfynet=lambda: selfynet(x), tsm=lambda: tsm(x))
    rows.append(_network_row('evaluation', t))
    selfynet.train(), tsm.train()
    t = bench.times(
        selfynet=_train_step(selfynet, x), tsm=_train_step(tsm, x))
    return [*rows, _network_row('training step', t)]


def _network_row(name: str, t: dict[str, float]) -> list[str]:
    return [
        f'SELFYNet-TSM-R50, {name}, 1 clip of 8 x 224 x 224',
        f'{1e3 * t["selfynet"]:.0f} ms',
        f'{t["selfynet"] / t["tsm"]:.2f} x its TSM ({1e3 * t["tsm"]:.0f} ms)'
    ]


def benchmark_deployed(bench: Benchmark) -> list[list[str]]:
    """SELFYNet-TSM-R50 in ONNX Runtime against PyTorch, on the CPU."""
    cfg = dict(
        type='Recognizer2D',
        backbone=dict(type='ResNetSELFY', depth=50),
        cls_head=dict(
            type='TSMHead',
            num_classes=174,
            in_channels=2048,
            num_segments=8),
        data_preprocessor=dict(
            type='ActionDataPreprocessor', mean=[0] * 3, std=[1] * 3))
    with DefaultScope.overwrite_default_scope('mmaction'):
        recognizer = MODELS.build(cfg).eval()
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
        t = bench.times(
            deployed=lambda: deployed(clip), eager=lambda: eager(clip))
    return [[
        'SELFYNet-TSM-R50, evaluation in ONNX Runtime on the CPU, 1 clip of '
        '8 x 224 x 224', f'{1e3 * t["deployed"]:.0f} ms',
        f'{t["eager"] / t["deployed"]:.2f} x faster than PyTorch '
        f'({1e3 * t["eager"]:.0f} ms)'
    ]]


PARTS = dict(
    op=benchmark_op,
    growth=benchmark_growth,
    block=benchmark_block,
    network=benchmark_network,
    deployed=benchmark_deployed)


def describe_machine(device: torch.device) -> str:
    """One line: hardware, threads and versions."""
    name = platform.processor() or platform.machine()
    if device.type == 'cuda':
        name = torch.cuda.get_device_name(device)
    else:
        try:
            with open('/proc/cpuinfo') as file:
                name = next(
                    line.split(':')[1].strip() for line in file
                    if line.startswith('model name'))
        except (OSError, StopIteration):
            pass
        name = f'{name}, {torch.get_num_threads()} threads'
    return (f'{name}, PyTorch {torch.__version__}, '
            f'Python {platform.python_version()}')
