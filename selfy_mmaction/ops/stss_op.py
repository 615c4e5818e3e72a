"""The operator ``selfy::local_products`` that :func:`stss` calls.

For compilers, exporters and tracers it is one node with a shape and a
gradient; its implementation is chosen at run time.
"""
import os
from collections.abc import Callable
from contextlib import nullcontext
from types import ModuleType

import torch
from torch import Tensor

from . import stss_torch


def _implementation(q: Tensor, V: int) -> ModuleType:
    """The module that computes the products: PyTorch's operators by default.

    ``SELFY_STSS=triton`` asks for the Triton kernels; features that they do
    not support are computed by PyTorch all the same.
    """
    choice = os.environ.get('SELFY_STSS', '')
    if choice not in ('', 'torch', 'triton'):
        raise ValueError(f'SELFY_STSS={choice} is unknown: set it to triton '
                         "for the Triton kernels, to torch for PyTorch's "
                         'operators, or unset it, which is torch.')
    if choice != 'triton' or not q.is_cuda:
        return stss_torch
    try:
        from . import stss_triton
    except ImportError as error:
        raise ImportError('SELFY_STSS=triton asks for the Triton kernels, but '
                          f'Triton does not import ({error}): pip install '
                          'triton, or unset SELFY_STSS.') from error
    return stss_triton if stss_triton.supports(q, V) else stss_torch


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
        return _implementation(q, V).products(q, offsets, U, V, replicate)


def _products_backward(grad: Tensor, q: Tensor, offsets: list[int], U: int,
                       V: int, replicate: bool) -> Tensor:
    with own_type(q), torch.cuda.device_of(q):
        return _implementation(q, V).products_backward(grad, q, offsets, U, V,
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
