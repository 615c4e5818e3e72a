"""STSS by its definition, and as other code bases compute it.

Simple, but slow or large: :func:`stss` is tested and measured against these.
"""
from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor


def stss_loop(x: Tensor,
              window: Sequence[int] = (5, 9, 9),
              similarity: str = 'cosine',
              temporal_padding: str = 'zeros',
              eps: float = 1e-6,
              offsets: Sequence[int] | None = None) -> Tensor:
    """The definition of STSS, position by position and offset by offset.

    Autograd differentiates it as it is. The arguments and the result are
    those of :func:`stss`; the similarity is 'cosine' or 'dot'.
    """
    N, T, _, H, W = x.shape
    L, U, V = window
    offsets = offsets or range(-(L // 2), L // 2 + 1)
    q = x
    if similarity == 'cosine':
        q = x / torch.sqrt((x**2).sum(2, keepdim=True) + eps)
    out = []
    for t, h, w, l, u, v in product(*map(range, (T, H, W, L, U, V))):
        s, i, j = t + offsets[l], h + u - U // 2, w + v - V // 2
        if temporal_padding == 'replicate':
            s = min(max(s, 0), T - 1)
        if 0 <= s < T and 0 <= i < H and 0 <= j < W:
            out.append((q[:, t, :, h, w] * q[:, s, :, i, j]).sum(1))
        else:
            out.append(x.new_zeros(N))
    # [N, T * H * W * L * U * V] => [N, T, H, W, L, U, V]
    return torch.stack(out, 1).view(N, T, H, W, L, U, V)


def stss_einsum(x: Tensor,
                window: Sequence[int] = (5, 9, 9),
                similarity: str = 'cosine',
                temporal_padding: str = 'zeros') -> Tensor:
    """STSS as backbones with a copy of it compute it.

    Every frame is repeated for its L neighbours, all pairs of positions are
    multiplied, and the diagonals of the window are cut out: memory grows with
    the square of H * W. Norms have no epsilon. The arguments and the result
    are those of :func:`stss`; the similarity is 'cosine' or 'dot'.
    """
    (N, T, *_), (L, U, V) = x.shape, window
    scale = 0 if temporal_padding == 'zeros' else 1
    before, after = ([scale * end] * (L // 2) for end in (x[:, :1], x[:, -1:]))
    # [N, T + L - 1, C, H, W] => [N, T, C, H, W, L] => [N * T * L, C, H, W]
    target = torch.cat([*before, x, *after], 1).unfold(1, L, 1)
    target = target.movedim(-1, 2).flatten(0, 2)
    # [N, T, C, H, W] => [N, T, L, C, H, W] => [N * T * L, C, H, W]
    source = x[:, :, None].expand(-1, -1, L, -1, -1, -1).flatten(0, 2)
    if similarity == 'cosine':
        source, target = (F.normalize(q, dim=1) for q in (source, target))
    # => [N * T * L, H, W, H', W']
    pairs = torch.einsum('bchw,bcij->bhwij', source, target)
    # => [N * T * L, W, W', H, U] => [N * T * L, H, U, W, V]
    pairs = _diagonals(_diagonals(pairs, U, (1, 3)), V, (1, 2))
    # => [N * T * L, H, W, U, V]
    pairs = pairs.transpose(2, 3).contiguous()
    # => [N, T, L, H, W, U, V] => [N, T, H, W, L, U, V]
    return pairs.unflatten(0, (N, T, L)).permute(0, 1, 3, 4, 2, 5, 6)


def _diagonals(pairs: Tensor, size: int, dims: tuple[int, int]) -> Tensor:
    """All pairs (a, b) along two dims of one length to (a, offset), as the
    last dim: ``size`` offsets b - a, centred on 0."""
    length, diagonals = pairs.shape[dims[0]], []
    for offset in range(-(size // 2), size // 2 + 1):
        diagonal = pairs.diagonal(offset, *dims)
        missing = min(abs(offset), length)
        diagonals.append(
            F.pad(diagonal, (missing, 0) if offset < 0 else (0, missing)))
    return torch.stack(diagonals, -1)
