"""The operator ``selfy::local_products`` that :func:`stss` calls.

To compilers, exporters and tracers it is one node with a shape and a
gradient; which code computes it is decided when it runs.
"""
import os
import warnings
from contextlib import nullcontext
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import torch
from torch import Tensor

from . import stss_torch

# Types that the Triton kernels take.
_TRITON_TYPES = (torch.float32, torch.float16, torch.bfloat16)
_agreed: dict[tuple[torch.device, torch.dtype], bool] = {}


def _kernels(q: Tensor) -> ModuleType:
    """What computes the products of such a tensor.

    The Triton kernels do so on a CUDA device, once they have agreed with
    PyTorch's operators there. Trying them waits for the device, so that what
    is captured into a CUDA graph before gets PyTorch's operators; the warm-up
    that a capture needs tries them.
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
    """Whether the Triton kernels give what PyTorch's operators give."""
    generator = torch.Generator().manual_seed(0)
    # Small integers: no type rounds what is added up of them.
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
            f'{device}, PyTorch takes their place: {error}',
            stacklevel=2)
        return False
    return True


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


def _over_batch(info, in_dims: tuple, q: Tensor,
                *args) -> tuple[Tensor, int]:
    """The rule of torch.vmap: one more batch dimension joins the clips."""
    # [..., B, ...] => [B * N, T, H, W, C]
    clips = q.movedim(in_dims[0], 0).flatten(0, 1)
    out = local_products(clips, *args)
    return out.unflatten(0, (info.batch_size, -1)), 0


if hasattr(local_products, 'register_vmap'):  # PyTorch 2.5 and later
    local_products.register_vmap(_over_batch)
