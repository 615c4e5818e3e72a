"""Parity and time of the Triton kernels of STSS on a GPU."""
from functools import partial
from importlib.util import find_spec
from types import ModuleType

import torch
from stopwatch import Stopwatch, check_parity, show_time
from torch import Tensor

from selfy_mmaction.ops import stss_torch
from selfy_mmaction.ops.reference import stss_einsum

WINDOW = (5, 9, 9)
OFFSETS = (-2, -1, 0, 1, 2)
# [N, T, C, H, W]
PARITY = [(2, 3, 70, 9, 35), (1, 8, 128, 14, 14)]
CLIPS = [(1, 8, 128, 14, 14), (64, 8, 128, 14, 14), (1, 8, 128, 32, 32)]
# More than 2 ** 31 similarities, and the memory for those and their gradient.
LARGE = (62, 8, 16, 104, 104)
_LARGE_BYTES = 16 << 30
# Relative to the largest value, since sums lose more than their terms.
TOLERANCES = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
TIMED = (torch.float32, torch.bfloat16)
TUNINGS = [
    dict(tile=tile, warps=warps)
    for tile, warps in ((16, 1), (16, 2), (16, 4), (16, 8), (32, 4))
]
# So many in a row, so that the device's own latency does not count.
_CALLS = 10
_COPY_BYTES = 1 << 28


def can_run(device: torch.device) -> bool:
    """Whether there are Triton kernels for a device."""
    return device.type == 'cuda' and find_spec('triton') is not None


def benchmark_kernels(watch: Stopwatch) -> list[list[str]]:
    """The Triton kernels: parity first, then speed.

    Raises:
        ValueError: If there are none for the device, or one is wrong.
    """
    if not can_run(watch.device):
        raise ValueError('kernels: they need Triton and a CUDA device, but '
                         f'the device is {watch.device}.')
    from selfy_mmaction.ops import stss_triton
    # Triton starts its kernels on the current device.
    with torch.cuda.device(watch.device):
        check_kernels(watch.device, stss_triton)
        return time_kernels(watch, stss_triton)


def check_kernels(device: torch.device, kernels: ModuleType) -> None:
    """Hold kernels to PyTorch's operators and to the reference.

    Both get what the kernels get, in float64.

    Args:
        device (torch.device): Where to run.
        kernels (ModuleType): What has ``products`` and
            ``products_backward``.

    Raises:
        ValueError: If a value or a gradient differs.
    """
    for shape in PARITY:
        for dtype in TOLERANCES:
            for padding in 'zeros', 'replicate':
                for tuning in TUNINGS:
                    _check(device, kernels, shape, dtype, padding, tuning)
    if (device.type == 'cuda'
            and torch.cuda.mem_get_info(device)[0] > _LARGE_BYTES):
        check_positions(device, kernels, LARGE)


def check_positions(device: torch.device, kernels: ModuleType,
                    shape: tuple[int, ...]) -> None:
    """Hold the last clip of many to the same clip alone.

    Raises:
        ValueError: If they differ, as where positions are counted in too few
            bits.
    """
    N, T, C, H, W = shape
    args = OFFSETS, *WINDOW[1:], False
    q, grad = _inputs((1, T, C, H, W), device, torch.bfloat16)
    many, many_grad = (x.expand(N, *x.shape[1:]) for x in (q, grad))
    for what, ours, alone in (
        ('the value', kernels.products(many,
                                       *args), kernels.products(q, *args)),
        ('the gradient', kernels.products_backward(many_grad, many, *args),
         kernels.products_backward(grad, q, *args)),
    ):
        check_parity(
            ours[-1:],
            alone, f'{what} of the kernels at {list(shape)}, held '
            'to the last clip alone,',
            rtol=0,
            atol=0)


def _check(device: torch.device, kernels: ModuleType, shape: tuple[int, ...],
           dtype: torch.dtype, padding: str, tuning: dict[str, int]) -> None:
    q, grad = _inputs(shape, device, dtype)
    args = OFFSETS, *WINDOW[1:], padding == 'replicate'
    ours = (kernels.products(q, *args, **tuning),
            kernels.products_backward(grad, q, *args, **tuning))
    wide, wide_grad = q.double(), grad.double()
    by_pytorch = (stss_torch.products(wide, *args),
                  stss_torch.products_backward(wide_grad, wide, *args))
    for name, theirs in (("PyTorch's operators", by_pytorch),
                         ('the reference', _reference(wide, wide_grad,
                                                      padding))):
        for what, x, y in zip(('the value', 'the gradient'),
                              ours,
                              theirs,
                              strict=True):
            check_parity(
                x.double(),
                y, f'{what} of the kernels in {dtype} at {list(shape)} with '
                f'{padding} and {tuning}, held to {name},',
                rtol=0,
                atol=TOLERANCES[dtype] * y.abs().max().item())


def _inputs(shape: tuple[int, ...], device: torch.device,
            dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Unit vectors [N, T, H, W, C] and a gradient [N, T, L, H, W, U, V]."""
    N, T, C, H, W = shape
    q = torch.randn(N, T, H, W, C, device=device)
    q = torch.nn.functional.normalize(q, dim=-1)
    grad = torch.randn(N, T, WINDOW[0], H, W, *WINDOW[1:], device=device)
    return q.to(dtype), grad.to(dtype)


def _copy(q: Tensor, padding: str = 'zeros') -> Tensor:
    """The copies' way, [N, T, H, W, C] => [N, T, L, H, W, U, V]"""
    maps = stss_einsum(q.movedim(4, 2), WINDOW, 'dot', padding)
    return maps.permute(0, 1, 4, 2, 3, 5, 6)


def _reference(q: Tensor,
               grad: Tensor,
               padding: str = 'zeros') -> tuple[Tensor, Tensor]:
    """Value and gradient by the copies' way."""
    q = q.detach().requires_grad_()
    with torch.enable_grad():
        out = _copy(q, padding)
    return out.detach(), torch.autograd.grad(out, q, grad)[0]


def time_kernels(watch: Stopwatch, kernels: ModuleType) -> list[list[str]]:
    """Kernels against PyTorch's operators, the copies and the memory.

    The limit is the time that a device needs to read and write the features,
    the similarities and the gradients once, at the rate at which it copies
    a large tensor. What fits its cache may be faster.

    Args:
        watch (Stopwatch): Times them in turn, where it stands.
        kernels (ModuleType): See :func:`check_kernels`.
    """
    return [
        row for shape in CLIPS for dtype in TIMED for backward in (False, True)
        for row in _time(watch, kernels, shape, dtype, backward)
    ]


def _time(watch: Stopwatch, kernels: ModuleType, shape: tuple[int, ...],
          dtype: torch.dtype, backward: bool) -> list[list[str]]:
    q, grad = _inputs(shape, watch.device, dtype)
    args = OFFSETS, *WINDOW[1:], False
    if backward:
        ours = partial(kernels.products_backward, grad, q, *args)
        functions = dict(
            ours=ours,
            pytorch=partial(stss_torch.products_backward, grad, q, *args),
            # It needs its forward pass.
            copy=partial(_reference, q, grad))
    else:
        ours = partial(kernels.products, q, *args)
        functions = dict(
            ours=ours,
            pytorch=partial(stss_torch.products, q, *args),
            copy=partial(_copy, q))
    functions.update(
        (str(i), partial(ours, **tuning)) for i, tuning in enumerate(TUNINGS))
    source = torch.empty(_COPY_BYTES, dtype=torch.uint8, device=watch.device)
    functions['memory'] = partial(torch.empty_like(source).copy_, source)
    t = watch.times(
        **{
            name: watch.repeated(function, _CALLS)
            for name, function in functions.items()
        })
    t = {name: seconds / _CALLS for name, seconds in t.items()}
    moved = grad.nbytes + (2 if backward else 1) * q.nbytes
    limit = t['memory'] * moved / (2 * source.nbytes)
    what = 'backward' if backward else 'forward'
    copy = 'forward + backward' if backward else 'forward'
    name = (f'kernels, {what}, {str(dtype).removeprefix("torch.")} '
            f'{list(shape)}')
    return [[
        name,
        show_time(t['ours']),
        f'{t["ours"] / limit:.2f} x the limit of the memory '
        f'({show_time(limit)}), {t["pytorch"] / t["ours"]:.2f} x faster '
        f'than PyTorch\'s operators ({show_time(t["pytorch"])}), '
        f'{t["copy"] / t["ours"]:.2f} x than {copy} of einsum + diagonals '
        f'({show_time(t["copy"])})'
    ], *([
        f'{name}, tile of {tuning["tile"]}, {tuning["warps"]} warps',
        show_time(t[str(i)]), f'{t[str(i)] / t["ours"]:.2f} x the default'
    ] for i, tuning in enumerate(TUNINGS))]
