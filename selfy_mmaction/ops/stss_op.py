"""The operator ``selfy::local_products`` that :func:`stss` calls.

For compilers, exporters and tracers it is one node with a shape and a
gradient; its implementation is chosen at run time.
"""
import os
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import torch
from torch import Tensor

from . import stss_torch

# Types that the Triton kernels support.
_TRITON_TYPES = (torch.float32, torch.float16, torch.bfloat16)
_agreed: dict[tuple[torch.device, torch.dtype], bool] = {}


def _kernels(q: Tensor) -> ModuleType:
    """The module that computes the products of such a tensor.

    That is the Triton kernels on a CUDA device, once they have agreed with
    PyTorch's operators there. That test synchronises with the device, so a
    CUDA graph captured before it uses PyTorch's operators; the warm-up that a
    capture needs runs it.
    """
    if (not q.is_cuda or q.dtype not in _TRITON_TYPES
            or os.environ.get('SELFY_STSS') == 'torch'
            or find_spec('triton') is None):
        return stss_torch
    key = q.device, q.dtype
    if key not in _agreed:
        if torch.cuda.is_current_stream_capturing():
            return stss_torch
        _agreed[key] = _agree(*key)
    return _triton() if _agreed[key] else stss_torch


def _triton() -> ModuleType:
    return import_module('.stss_triton', __package__)


def _agree(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the Triton kernels agree with PyTorch's operators."""
    generator = torch.Generator().manual_seed(0)
    # Small integers: their sums are exact in every type.
    q = torch.randint(-2, 3, (2, 3, 5, 18, 20), generator=generator)
    q = q.to(device, dtype)
    try:
        for replicate in False, True:
            args = (-1, 0, 2), 3, 5, replicate
            kernels = _triton()
            ours = kernels.products(q, *args)
            theirs = stss_torch.products(q, *args)
            grad = theirs.sign()
            if not (torch.equal(ours, theirs) and torch.equal(
                    kernels.products_backward(grad, q, *args),
                    stss_torch.products_backward(grad, q, *args))):
                raise RuntimeError('their results differ.')
    except Exception as error:  # Triton's compilers raise types of their own
        warnings.warn(
            f'The Triton kernels of stss are not used with {dtype} on '
            f'{device}, PyTorch is used instead: {error}',
            stacklevel=2)
        return False
    return True


def _own_type(q: Tensor):
    """Disable autocast: the products have the type of the features."""
    kind = q.device.type
    if torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()


def _products(q: Tensor, offsets: list[int], U: int, V: int,
              replicate: bool) -> Tensor:
    with _own_type(q):
        return _kernels(q).products(q, offsets, U, V, replicate)


def _products_backward(grad: Tensor, q: Tensor, offsets: list[int], U: int,
                       V: int, replicate: bool) -> Tensor:
    with _own_type(q):
        return _kernels(q).products_backward(grad, q, offsets, U, V, replicate)


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
