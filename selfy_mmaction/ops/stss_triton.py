"""The inner products of STSS and their gradient, as two Triton kernels.

Both take 16 successive positions of a row per program and, one after another,
the rows that their windows reach. A product of tiles holds the windows' part
of such a row as a band: that is stored, or loaded, by a mask. So nothing but
the similarities is written, and nothing is added from several programs.

Names are those of :func:`stss`: F = N * T frames, (H, W) positions, C
channels, L offsets, (U, V) the window; ``f``, ``t``, ``h``, ``w`` are
indices. Tensors are contiguous, and positions in them counted in 64 bits.
"""
from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

TYPES = (torch.float32, torch.float16, torch.bfloat16)
# Positions per program: the least that a matrix product of Triton takes.
_TILE = 16
# Groups of 32 threads per program, Triton's default.
_WARPS = 4
# At most so many bytes of a position's channels at once: more of float32 does
# not fit the registers.
_CHANNELS = 128
# At most so many bytes of a row that the windows of a tile reach, per channel.
_KEY_BYTES = 256


@triton.jit
def _load(q, f, row, col, channel, H, W, C, exists):
    """[cols, channels] of a row of a frame; 0 outside the map."""
    place = (f * H + row).to(tl.int64) * W + col
    mask = (exists & (row >= 0) & (row < H) & (col >= 0) & (col < W))
    return tl.load(
        q + place[:, None] * C + channel[None, :],
        mask=mask[:, None] & (channel < C)[None, :],
        other=0)


@triton.jit
def _offset(slot, OFFSETS: tl.constexpr):
    """An offset, chosen from constants: a tensor of them on the device would
    have to outlive every CUDA graph that reads it."""
    offset = 0
    for i in tl.static_range(len(OFFSETS)):
        offset = tl.where(slot == i, OFFSETS[i], offset)
    return offset


@triton.jit
def _forward(q, out, T, H, W, C, OFFSETS: tl.constexpr, U: tl.constexpr,
             V: tl.constexpr, REPLICATE: tl.constexpr, TILE: tl.constexpr,
             KEYS: tl.constexpr, CHANNELS: tl.constexpr,
             PRECISION: tl.constexpr):
    """Program (f * H + h, tile of columns, offset)."""
    row, start, slot = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    f, h = row // H, row % H
    t = f % T
    L: tl.constexpr = len(OFFSETS)
    other = t + _offset(slot, OFFSETS)
    if REPLICATE:
        other = tl.minimum(tl.maximum(other, 0), T - 1)
    exists = (other >= 0) & (other < T)
    w = start * TILE + tl.arange(0, TILE)
    key = start * TILE - V // 2 + tl.arange(0, KEYS)
    v = tl.arange(0, KEYS)[None, :] - tl.arange(0, TILE)[:, None]
    band = (v >= 0) & (v < V) & (w < W)[:, None]
    inside = ((key >= 0) & (key < W))[None, :]
    # [TILE, 1], where the windows of the positions begin
    place = ((f * L + slot).to(tl.int64) * H + h) * W + w[:, None]
    for u in range(U):
        key_row = h + u - U // 2
        product = tl.zeros((TILE, KEYS), tl.float32)
        for c in range(0, C, CHANNELS):
            channel = c + tl.arange(0, CHANNELS)
            query = _load(q, f, h, w, channel, H, W, C, exists)
            keys = _load(q, f - t + other, key_row, key, channel, H, W, C,
                         exists)
            product = tl.dot(
                query, tl.trans(keys), product, input_precision=PRECISION)
        found = inside & exists & (key_row >= 0) & (key_row < H)
        tl.store(
            out + (place * U + u) * V + v,
            tl.where(found, product, 0).to(out.dtype.element_ty),
            mask=band)


@triton.jit
def _add(total, grad, q, f, slot, row, u, place, other, key_row, key, v, valid,
         channel, H, W, C, L, U: tl.constexpr, V: tl.constexpr,
         PRECISION: tl.constexpr):
    """Add the product of a band of gradients with a row of features.

    The band, [TILE, KEYS], is that of maps of frame f and offset slot at
    (row, place, u, v); the features are those of frame ``other`` at
    (key_row, key).
    """
    inside = (key_row >= 0) & (key_row < H)
    at = ((f * L + slot).to(tl.int64) * H + row) * W + place
    band = tl.load(
        grad + (at * U + u) * V + v,
        mask=valid & inside & (v >= 0) & (v < V),
        other=0)
    keys = _load(q, other, key_row, key, channel, H, W, C, inside)
    return tl.dot(band, keys, total, input_precision=PRECISION)


@triton.jit
def _backward(grad, q, out, T, H, W, C, OFFSETS: tl.constexpr, U: tl.constexpr,
              V: tl.constexpr, REPLICATE: tl.constexpr, TILE: tl.constexpr,
              KEYS: tl.constexpr, CHANNELS: tl.constexpr,
              PRECISION: tl.constexpr):
    """Program (f * H + h, tile of columns, block of channels)."""
    row, start = tl.program_id(0), tl.program_id(1)
    channel = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    f, h = row // H, row % H
    t = f % T
    clip = f - t
    L: tl.constexpr = len(OFFSETS)
    w = start * TILE + tl.arange(0, TILE)
    key = start * TILE - V // 2 + tl.arange(0, KEYS)
    v = tl.arange(0, KEYS)[None, :] - tl.arange(0, TILE)[:, None]
    valid = (w < W)[:, None] & ((key >= 0) & (key < W))[None, :]
    total = tl.zeros((TILE, CHANNELS), tl.float32)
    for slot in range(L):
        offset = _offset(slot, OFFSETS)
        # Frame t is compared with another: its positions are queries.
        other = t + offset
        if REPLICATE:
            other = tl.minimum(tl.maximum(other, 0), T - 1)
        if (other >= 0) & (other < T):
            for u in range(U):
                total = _add(total, grad, q, f, slot, h, u, w[:, None],
                             clip + other, h + u - U // 2, key, v, valid,
                             channel, H, W, C, L, U, V, PRECISION)
        # Frames first to last are compared with it: its positions are keys.
        first = t - offset
        last = first
        if REPLICATE:
            # An offset beyond the clip's end repeats the frame there.
            if t == T - 1:
                last = tl.maximum(last, T - 1)
            if t == 0:
                first = tl.minimum(first, 0)
        first = tl.maximum(first, 0)
        last = tl.minimum(last, T - 1)
        for seer in range(first, last + 1):
            for u in range(U):
                total = _add(total, grad, q, clip + seer, slot, h - u + U // 2,
                             u, key[None, :], clip + seer, h - u + U // 2, key,
                             V - 1 - v, valid, channel, H, W, C, L, U, V,
                             PRECISION)
    place = (row.to(tl.int64) * W + w)[:, None] * C + channel[None, :]
    tl.store(
        out + place,
        total.to(out.dtype.element_ty),
        mask=(w < W)[:, None] & (channel < C)[None, :])


def supports(q: Tensor, V: int) -> bool:
    """Whether the kernels compute the products of such features.

    Wider windows would need more registers than a program has.
    """
    return q.dtype in TYPES and _keys(V) * q.element_size() <= _KEY_BYTES


def _keys(V: int, tile: int = _TILE) -> int:
    """Columns that the windows of a tile reach, rounded up."""
    return triton.next_power_of_2(tile + V - 1)


def blocks(C: int, V: int, itemsize: int, tile: int = _TILE) -> dict[str, int]:
    """Sizes of the matrices that a program multiplies."""
    most = _CHANNELS // itemsize
    channels = min(max(triton.next_power_of_2(C), 16), most)
    return dict(TILE=tile, KEYS=_keys(V, tile), CHANNELS=channels)


def precision() -> str:
    """Of products of float32, by PyTorch's own switch."""
    matmul = torch.backends.cuda.matmul
    # Its older name, until PyTorch 2.8, may not be read once the newer is set.
    if hasattr(matmul, 'fp32_precision'):
        tf32 = matmul.fp32_precision == 'tf32'
    else:
        tf32 = matmul.allow_tf32
    return 'tf32' if tf32 else 'ieee'


def _arguments(q: Tensor, offsets: Sequence[int], U: int, V: int,
               replicate: bool, tile: int, warps: int) -> tuple[tuple, dict]:
    _, T, H, W, C = q.shape
    return (T, H, W, C), dict(
        OFFSETS=tuple(offsets),
        U=U,
        V=V,
        REPLICATE=replicate,
        PRECISION=precision(),
        num_warps=warps,
        **blocks(C, V, q.element_size(), tile))


def products(q: Tensor,
             offsets: Sequence[int],
             U: int,
             V: int,
             replicate: bool,
             tile: int = _TILE,
             warps: int = _WARPS) -> Tensor:
    """[N, T, H, W, C] => [N, T, L, H, W, U, V], see :func:`stss`.

    ``tile`` positions, a power of 2 from 16 on, and ``warps`` groups of 32
    threads, a power of 2, are a program's; they change the speed alone.
    """
    (N, T, H, W, _), L = q.shape, len(offsets)
    out = q.new_empty(N, T, L, H, W, U, V)
    if out.numel():
        sizes, options = _arguments(q, offsets, U, V, replicate, tile, warps)
        grid = N * T * H, triton.cdiv(W, tile), L
        _forward[grid](q.contiguous(), out, *sizes, **options)
    return out


def products_backward(grad: Tensor,
                      q: Tensor,
                      offsets: Sequence[int],
                      U: int,
                      V: int,
                      replicate: bool,
                      tile: int = _TILE,
                      warps: int = _WARPS) -> Tensor:
    """The gradient of :func:`products`, [N, T, H, W, C]."""
    N, T, H, W, C = q.shape
    # Each window has its position: without a gradient there are no features.
    out = q.new_empty(q.shape)
    if out.numel():
        sizes, options = _arguments(q, offsets, U, V, replicate, tile, warps)
        grid = (N * T * H, triton.cdiv(W, tile),
                triton.cdiv(C, options['CHANNELS']))
        _backward[grid](grad.contiguous(), q.contiguous(), out, *sizes,
                        **options)
    return out
