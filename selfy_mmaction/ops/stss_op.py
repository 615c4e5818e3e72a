"""The operator ``selfy::local_products`` that :func:`stss` calls.

For compilers, exporters and tracers it is one node with a shape and a
gradient; its implementation is chosen at run time.
"""
import os
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import torch
from torch import Tensor

from . import stss_torch

# Whether the kernels are right, by device, type and precision.
_agreed: dict[tuple, bool] = {}


def _kernels(q: Tensor, V: int) -> ModuleType:
    """The module that computes the products of such features.

    That is the Triton kernels on a CUDA device, once they have agreed with
    PyTorch's operators there. That test synchronises with the device, so a
    CUDA graph captured before it uses PyTorch's operators; the warm-up that a
    capture needs runs it.
    """
    choice = os.environ.get('SELFY_STSS')
    if choice not in (None, '', 'torch'):
        raise ValueError(f'SELFY_STSS={choice} is unknown: set it to torch, '
                         "for PyTorch's operators, or unset it.")
    if not q.is_cuda or choice or not (kernels := _triton()):
        return stss_torch
    if not kernels.supports(q, V):
        return stss_torch
    key = q.device, q.dtype, kernels.precision()
    if key not in _agreed:
        if torch.cuda.is_current_stream_capturing():
            return stss_torch
        _agreed[key] = _agree(kernels, q.device, q.dtype)
    return kernels if _agreed[key] else stss_torch


@lru_cache(maxsize=1)
def _triton() -> ModuleType | None:
    """The Triton kernels, where there is Triton."""
    if find_spec('triton') is None:
        return None
    try:
        return import_module('.stss_triton', __package__)
    except Exception as error:  # whatever an unfit version of Triton raises
        _warn(f'Triton cannot be imported: {error}')
        return None


def _warn(reason: str) -> None:
    warnings.warn(
        f'The Triton kernels of stss are not used, but PyTorch: {reason}',
        stacklevel=2)


def _agree(kernels: ModuleType, device: torch.device,
           dtype: torch.dtype) -> bool:
    """Whether kernels compute on a device what PyTorch does on the CPU.

    Nothing of this stays on the device: compilers run the first call in a
    memory pool that they check.
    """
    generator = torch.Generator().manual_seed(0)
    # Small integers, whose sums are exact in every type, and more channels
    # than a program loads at once.
    q = torch.randint(-1, 2, (2, 3, 5, 18, 140), generator=generator).float()
    try:
        for replicate in False, True:
            args = (-1, 0, 2), 3, 5, replicate
            out = stss_torch.products(q, *args)
            grad = out.sign()
            expected = out, stss_torch.products_backward(grad, q, *args)
            x, grad = q.to(device, dtype), grad.to(device, dtype)
            actual = (kernels.products(x, *args),
                      kernels.products_backward(grad, x, *args))
            if not all(
                    torch.equal(ours.float().cpu(), theirs)
                    for ours, theirs in zip(actual, expected, strict=True)):
                raise RuntimeError('the results differ.')
    except Exception as error:  # Triton's compilers raise types of their own
        _warn(f'{dtype} on {device}: {error}')
        return False
    return True


def own_type(q: Tensor):
    """Disable autocast: the products have the type of the features."""
    kind = q.device.type
    if torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()


def _products(q: Tensor, offsets: list[int], U: int, V: int,
              replicate: bool) -> Tensor:
    # Triton starts its kernels on the current device.
    with own_type(q), torch.cuda.device_of(q):
        return _kernels(q, V).products(q, offsets, U, V, replicate)


def _products_backward(grad: Tensor, q: Tensor, offsets: list[int], U: int,
                       V: int, replicate: bool) -> Tensor:
    with own_type(q), torch.cuda.device_of(q):
        return _kernels(q, V).products_backward(grad, q, offsets, U, V,
                                                replicate)


# Not by torch.library.custom_op: its first call imports torch._dynamo, which
# takes a second.
_library = torch.library.Library('selfy', 'FRAGMENT')
_ARGS = 'Tensor q, int[] offsets, int U, int V, bool replicate'


def _define(name: str, args: str, function: Callable) -> Callable:
    """Register an operator that computes the same way on every device."""
    _library.define(
        f'{name}({args}) -> Tensor', tags=(torch.Tag.pt2_compliant_tag, ))
    _library.impl(name, function, 'CompositeExplicitAutograd')
    return getattr(torch.ops.selfy, name).default


# Inner products of a clip's positions with their neighbours: q is
# [N, T, H, W, C], offsets are L different ones (see `stss`), U and V the rows
# and columns of the window. With replicate the first and the last frame are
# repeated beyond the clip's ends; otherwise the product there is 0.
# => [N, T, L, H, W, U, V]
local_products = _define('local_products', _ARGS, _products)
# => the gradient of q, [N, T, H, W, C]
local_products_backward = _define('local_products_backward',
                                  f'Tensor grad, {_ARGS}', _products_backward)


@torch.library.register_fake('selfy::local_products', lib=_library)
def _(q, offsets, U, V, replicate):
    N, T, H, W, _ = q.shape
    return q.new_empty(N, T, len(offsets), H, W, U, V)


@torch.library.register_fake('selfy::local_products_backward', lib=_library)
def _(grad, q, *args):
    return q.new_empty(q.shape)


def _save(ctx, inputs: tuple, output: Tensor) -> None:
    q, *ctx.args = inputs
    ctx.save_for_backward(q)


def _gradient(ctx, grad: Tensor) -> tuple:
    return (local_products_backward(grad, *ctx.saved_tensors,
                                    *ctx.args), *[None] * 4)


torch.library.register_autograd(
    'selfy::local_products', _gradient, setup_context=_save, lib=_library)


def _no_second_derivative(ctx, grad: Tensor):
    raise NotImplementedError(
        'autograd has no second derivative of stss; torch.func has one.')


torch.library.register_autograd(
    'selfy::local_products_backward', _no_second_derivative, lib=_library)
