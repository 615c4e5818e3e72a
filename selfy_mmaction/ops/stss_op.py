"""The operator ``selfy::local_products`` that :func:`stss` calls.

To compilers, exporters and tracers it is one node with a shape and a
gradient; which code computes it is decided when it runs.
"""
from contextlib import nullcontext
from types import ModuleType

import torch
from torch import Tensor

from . import stss_torch


def _kernels(q: Tensor) -> ModuleType:
    """What computes the products of such a tensor."""
    return stss_torch


def _own_type(q: Tensor):
    """Autocast left out: the products have the type of the features."""
    kind = q.device.type
    if torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()


@torch.library.custom_op('selfy::local_products', mutates_args=())
def local_products(q: Tensor, offsets: list[int], U: int, V: int,
                   replicate: bool) -> Tensor:
    """Inner products of a clip's positions with their neighbours.

    Args:
        q (Tensor): [N, T, H, W, C].
        offsets (list[int]): L different ones, see :func:`stss`.
        U (int): Rows of the window, odd.
        V (int): Columns of the window, odd.
        replicate (bool): Whether the first and the last frame stand beyond
            the clip's ends; otherwise the product there is 0.

    Returns:
        Tensor: [N, T, L, H, W, U, V].
    """
    with _own_type(q):
        return _kernels(q).products(q, offsets, U, V, replicate)


@torch.library.custom_op('selfy::local_products_backward', mutates_args=())
def _backward(grad: Tensor, q: Tensor, offsets: list[int], U: int, V: int,
              replicate: bool) -> Tensor:
    """The gradient of :func:`local_products`, [N, T, H, W, C]."""
    with _own_type(q):
        return _kernels(q).products_backward(grad, q, offsets, U, V,
                                             replicate)


@local_products.register_fake
def _(q, offsets, U, V, replicate):
    N, T, H, W, _ = q.shape
    return q.new_empty(N, T, len(offsets), H, W, U, V)


@_backward.register_fake
def _(grad, q, *args):
    return q.new_empty(q.shape)


def _save(ctx, inputs: tuple, output: Tensor) -> None:
    q, *ctx.args = inputs
    ctx.save_for_backward(q)


def _gradient(ctx, grad: Tensor) -> tuple:
    return (_backward(grad, *ctx.saved_tensors, *ctx.args), *[None] * 4)


local_products.register_autograd(_gradient, setup_context=_save)


def _batched(x: Tensor, dim: int | None, size: int) -> Tensor:
    """[..., size, ...] => [size * N, ...]"""
    x = x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)
    return x.flatten(0, 1)


def _over_batch(operator, num_tensors: int):
    """The rule of torch.vmap: one more batch dimension joins the clips."""

    def vmap(info, in_dims, *args):
        size = info.batch_size
        tensors = [
            _batched(x, dim, size)
            for x, dim in zip(args[:num_tensors], in_dims, strict=False)
        ]
        out = operator(*tensors, *args[num_tensors:])
        return out.unflatten(0, (size, -1)), 0

    return vmap


if hasattr(local_products, 'register_vmap'):  # PyTorch 2.5 and later
    local_products.register_vmap(_over_batch(local_products, 1))
    _backward.register_vmap(_over_batch(_backward, 2))
