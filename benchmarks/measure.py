"""Parity, time and memory of functions; the name of the machine."""
import os
import platform
import statistics
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.utils.benchmark import Timer

HEAD = ('what', 'how', 'time', 'relative', 'peak memory')
# Functions that compute the same, by name.
Ways = Mapping[str, Callable[[], object]]


def has_triton(device: torch.device) -> bool:
    """Whether Triton can run on a device."""
    return device.type == 'cuda' and find_spec('triton') is not None


def check_parity(ours: Tensor,
                 theirs: Tensor,
                 what: str,
                 rtol: float = 1e-4,
                 atol: float = 1e-5) -> None:
    """Raise a ValueError unless two ways to compute the same agree."""
    try:
        torch.testing.assert_close(ours, theirs, rtol=rtol, atol=atol)
    except AssertionError as error:
        raise ValueError(
            f'{what} differs from what it is compared with, so no speed is '
            f'reported: {str(error).splitlines()[0]}') from error


def time_in_turn(ways: Ways, device: torch.device,
                 rounds: int) -> dict[str, float]:
    """Median seconds of each function.

    They run in turn, so that their ratios hold on a machine whose speed
    varies; on a GPU Triton times them one after the other.

    Args:
        ways (Ways): The functions.
        device (torch.device): Where they run.
        rounds (int): Runs of each, after warm-ups.
    """
    if has_triton(device):
        from triton.testing import do_bench
        with torch.cuda.device(device):
            return {
                name: do_bench(way, return_mode='median') / 1e3
                for name, way in ways.items()
            }
    threads, seconds = torch.get_num_threads(), {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            timer = Timer('f()', globals=dict(f=way), num_threads=threads)
            seconds[name].append(timer.timeit(1).median)
    return {name: statistics.median(x) for name, x in seconds.items()}


def show_time(seconds: float) -> str:
    """Milliseconds in three digits."""
    ms = 1e3 * seconds
    return f'{ms:.0f} ms' if ms >= 100 else f'{ms:#.3g} ms'


def compare(what: str, ways: Ways, device: torch.device,
            rounds: int) -> list[list[str]]:
    """Rows of a table under HEAD; times are also relative to the first."""
    seconds = time_in_turn(ways, device, rounds)
    first = next(iter(seconds.values()))
    return [[
        what, name,
        show_time(seconds[name]), f'{seconds[name] / first:.2f}',
        f'{peak_bytes(way, device) / 1e6:.0f} MB'
    ] for name, way in ways.items()]


def compare_modules(what: str, modules: Mapping[str, tuple[nn.Module, Tensor]],
                    device: torch.device, rounds: int) -> list[list[str]]:
    """Rows of modules on their inputs, in evaluation and in training."""

    def step(module: nn.Module, x: Tensor) -> Callable[[], object]:
        """Forward and backward, and nothing else."""
        inputs = [p for p in (x, *module.parameters()) if p.requires_grad]
        cotangent = torch.randn_like(module(x))
        return lambda: torch.autograd.grad(module(x), inputs, cotangent)

    with torch.no_grad():
        rows = compare(
            f'{what}, evaluation', {
                name: partial(module.eval(), x)
                for name, (module, x) in modules.items()
            }, device, rounds)
    return rows + compare(f'{what}, training step', {
        name: step(module.train(), x)
        for name, (module, x) in modules.items()
    }, device, rounds)


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
    """Peak memory of a function's tensors in bytes."""
    if device.type == 'cuda':
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        function()
        return torch.cuda.max_memory_allocated(device) - before
    # Otherwise the profiler logs its own start and end.
    os.environ.setdefault('KINETO_LOG_LEVEL', '6')
    with torch.profiler.profile(profile_memory=True) as profile:
        function()
    now = peak = 0
    # profile.events() does not include allocations.
    events = profile.profiler.kineto_results.events()
    for event in sorted(events, key=lambda event: event.start_ns()):
        if event.name() == '[memory]':
            now += event.nbytes()
            peak = max(peak, now)
    return peak


def name_device(device: torch.device) -> str:
    """A GPU's name, or a CPU's with the number of threads."""
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    try:
        with open('/proc/cpuinfo') as file:
            name = next(
                line.split(':')[1].strip() for line in file
                if line.startswith('model name'))
    except (OSError, StopIteration):
        pass
    return f'{name}, {torch.get_num_threads()} thread(s)'


def describe_machine(device: torch.device) -> str:
    """One line: hardware, threads and versions."""
    return (f'{name_device(device)}, PyTorch {torch.__version__}, '
            f'Python {platform.python_version()}')
