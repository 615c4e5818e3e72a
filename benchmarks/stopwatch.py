"""Time and memory of functions, and the name of the device."""
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def check_parity(ours: Tensor | Sequence[Tensor],
                 theirs: Tensor | Sequence[Tensor],
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


class Stopwatch:
    """Runs functions in turn and keeps the median of their times.

    Args:
        device (torch.device): Where to run.
        rounds (int): Number of runs of each function, after one warm-up.
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

    def repeated(self, function: Callable[[], object],
                 calls: int) -> Callable[[], None]:
        """What a function computes, so many times, as one function.

        On a GPU it is a CUDA graph: its time is that of the kernels alone,
        without that of starting them from Python.
        """

        def repeat() -> None:
            for _ in range(calls):
                function()

        if self.device.type != 'cuda':
            return repeat
        # What is captured must have run before, on another stream, too.
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            repeat()
        torch.cuda.current_stream(self.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self.device), torch.cuda.graph(graph):
            repeat()
        return graph.replay

    def _time(self, function: Callable[[], object]) -> float:
        self._synchronize()
        start = time.perf_counter()
        function()
        self._synchronize()
        return time.perf_counter() - start

    def _synchronize(self) -> None:
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)


def show_time(seconds: float) -> str:
    """Three digits, in milliseconds, or in microseconds below one."""
    value, unit = (1e3 * seconds, 'ms') if seconds >= 1e-3 else (1e6 * seconds,
                                                                 'us')
    return f'{value:.{max(0, 3 - len(str(int(value))))}f} {unit}'


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
