"""STSS transformation (Sec. 3.1 of the paper): features to similarities.

Everything here needs only torch. ``stss_op`` has the operator that computes
the products, ``stss_torch`` its implementation in PyTorch.
"""
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

from .stss_op import local_products, own_type
from .stss_torch import products_in_a_graph

SIMILARITIES = ('cosine', 'dot', 'softmax')
TEMPORAL_PADDINGS = ('zeros', 'replicate')
LAYOUTS = ('NTCHW', 'NTHWC')


def check_window(
    window: Sequence[int],
    offsets: Sequence[int] | None = None
) -> tuple[tuple[int, int, int], tuple[int, ...]]:
    """Return the window (L, U, V) and the L temporal offsets as tuples.

    Args:
        window (Sequence[int]): (L, U, V), positive; U and V are odd, and so
            is L if no offsets are given.
        offsets (Sequence[int], optional): L different frames to compare
            with, counted from the position's own. By default they are
            centred on it, -(L // 2) to L // 2.

    Raises:
        ValueError: If they are anything else.
    """
    window = tuple(window) if isinstance(window, Sequence) else (window, )
    odd = window[1:] if offsets is not None else window
    if (len(window) != 3
            or not all(isinstance(size, int) and size > 0 for size in window)
            or not all(size % 2 for size in odd)):
        raise ValueError(
            'window must be three odd positive integers (L, U, V), such as '
            f'(5, 9, 9), but got {window}.')
    L = window[0]
    if offsets is None:
        return window, tuple(range(-(L // 2), L // 2 + 1))
    offsets = (
        tuple(offsets) if isinstance(offsets, Sequence) else (offsets, ))
    if (not all(isinstance(offset, int) for offset in offsets)
            or not len(set(offsets)) == len(offsets) == L):
        raise ValueError(
            f'offsets must be L={L} different integers, as many as '
            f'window={window} says, but got {offsets}.')
    return window, offsets


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise a ValueError unless an argument is one of the choices."""
    if value not in choices:
        raise ValueError(f'{name} must be one of {choices}, but got '
                         f'{value!r}.')


def _normalize(x: Tensor, eps: float, dim: int) -> Tensor:
    """Unit vectors, computed in float32 for the half types: a norm may
    exceed the range of float16."""
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    length = wide.square().sum(dim, keepdim=True).add(eps).sqrt()
    return (wide / length).to(x.dtype)


def within_map(H: int,
               W: int,
               U: int,
               V: int,
               device: torch.device | None = None) -> Tensor:
    """Which neighbours of a position are on the map.

    Args:
        H (int): Rows of the map.
        W (int): Columns of the map.
        U (int): Rows of the window.
        V (int): Columns of the window.
        device (torch.device, optional): Of the result. The CPU by default.

    Returns:
        Tensor: Boolean, [H, W, U, V].
    """
    rows, columns = (torch.arange(size, device=device)[:, None] +
                     torch.arange(window, device=device) - window // 2
                     for size, window in ((H, U), (W, V)))
    rows, columns = ((x >= 0) & (x < size)
                     for x, size in ((rows, H), (columns, W)))
    # [H, U], [W, V] => [H, W, U, V]
    return rows[:, None, :, None] & columns[None, :, None, :]


def _softmax(products: Tensor) -> Tensor:
    """Softmax over (U, V), [..., H, W, U, V]; 0 beyond the map."""
    if not products.numel():
        return products
    within = within_map(*products.shape[-4:], products.device)
    products = products.masked_fill(~within, -torch.inf)
    # The type is named, or autocast would choose float32.
    weights = products.flatten(-2).softmax(-1, products.dtype)
    return weights.view(products.shape)


def stss(x: Tensor,
         window: Sequence[int] = (5, 9, 9),
         similarity: str = 'cosine',
         temporal_padding: str = 'zeros',
         eps: float = 1e-6,
         offsets: Sequence[int] | None = None,
         scale: float | None = None,
         layout: str = 'NTCHW') -> Tensor:
    r"""Spatio-temporal self-similarity of a clip's features (Sec. 3.1).

    Each position is compared with its neighbours in space and time:

    .. math::
        S[n, t, h, w, l, u, v] = scale \langle q[n, t, :, h, w],
        q[n, t + offsets_l, :, h + u - \lfloor U / 2 \rfloor,
        w + v - \lfloor V / 2 \rfloor] \rangle

    Args:
        x (Tensor): Features, [N, T, C, H, W]: clips, frames, channels,
            height, width. Any floating-point type, memory layout and size,
            N = 0 included.
        window (Sequence[int]): (L, U, V), odd: how many frames, rows and
            columns of neighbours, centred on the position, in cells of the
            feature map. Defaults to (5, 9, 9).
        similarity (str): 'cosine' normalises the features over C first,
            :math:`q = x / \sqrt{\sum_c x_c^2 + eps}`; 'dot' uses
            :math:`q = x`; 'softmax' is 'dot' followed by a softmax over the
            (U, V) neighbours of each offset; those outside the map are left
            out, so that the others sum to 1. Defaults to 'cosine'.
        temporal_padding (str): The padding beyond the clip's ends: 'zeros',
            product 0 as in the official code (1 / number of neighbours after
            a softmax), or 'replicate', the first and the last frame. Outside
            the map the similarity is always 0. Defaults to 'zeros'.
        eps (float): Added to the squared norm, inside the root.
            Defaults to 1e-6.
        offsets (Sequence[int], optional): The L frames to compare with,
            counted from the position's own, such as (-2, -1, 0) for no later
            one; L need not be odd then. (-1, ) with 'replicate' compares
            with the frame before, the first frame with itself. By default
            they are centred, -(L // 2) to L // 2.
        scale (float, optional): Factor of the products, before a softmax;
            positive. By default C ** -0.5 for 'softmax' and 1 otherwise.
        layout (str): Order of the dimensions of ``x``, 'NTCHW' or 'NTHWC';
            the latter is not copied. For tokens [N, T * H * W, C], pass
            ``tokens.unflatten(1, (T, H, W))`` with it. Defaults to 'NTCHW'.

    Returns:
        Tensor: Similarities, [N, T, H, W, L, U, V], of the type of ``x``;
        U is the vertical offset, V the horizontal one. The memory order is
        [N, T, L, H, W, U, V], in which convolutions over (U, V) and then over
        (H, W) read it.

    Raises:
        ValueError: If ``x`` is not a five-dimensional floating-point tensor,
            a window size is even or not positive, the offsets are not L
            different integers, the scale is not positive, eps is negative,
            or a choice is unknown.

    Time and memory grow linearly with T and with H * W. For the convention of
    ``torch.nn.functional.normalize``, a norm of at least 1e-12 instead of
    ``eps``, normalise with it and use 'dot'.
    """
    if x.dim() != 5 or not x.is_floating_point():
        raise ValueError('x must be floating-point features [N, T, C, H, W], '
                         f'but got {x.dtype} {tuple(x.shape)}.')
    (_, U, V), offsets = check_window(window, offsets)
    check_choice('similarity', similarity, SIMILARITIES)
    check_choice('temporal_padding', temporal_padding, TEMPORAL_PADDINGS)
    check_choice('layout', layout, LAYOUTS)
    if scale is not None and not 0 < scale < torch.inf:
        raise ValueError(f'scale must be positive, but got {scale}.')
    if not eps >= 0:
        raise ValueError(f'eps must not be negative, but got {eps}.')

    dim = layout.index('C')
    if similarity == 'softmax' and scale is None:
        scale = max(x.shape[dim], 1)**-0.5
    q = _normalize(x, eps, dim) if similarity == 'cosine' else x
    if scale is not None:
        q = q * scale**0.5
    # [N, T, C, H, W] or [N, T, H, W, C] => [N, T, H, W, C], in memory, too:
    # or the forward and the backward pass would each copy it
    q = q.movedim(dim, 4).contiguous()
    # Other runtimes lack the operator; torch.func cannot differentiate it, and
    # forward mode would take its derivative for 0.
    in_a_graph = (
        torch.onnx.is_in_onnx_export() or torch.jit.is_tracing()
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0)
    args = q, list(offsets), U, V, temporal_padding == 'replicate'
    # [N, T, H, W, C] => [N, T, L, H, W, U, V]
    if in_a_graph:
        with own_type(q):
            similarities = products_in_a_graph(*args)
    else:
        similarities = local_products(*args)
    if similarity == 'softmax':
        similarities = _softmax(similarities)
    # => [N, T, H, W, L, U, V], a view
    return similarities.permute(0, 1, 3, 4, 2, 5, 6)
