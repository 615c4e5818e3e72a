"""The inner products of STSS and their gradient, in PyTorch's operators.

The frames of all clips are concatenated, F = N * T of them, so that frames t
and t + d are two slices. Each unordered pair is multiplied once, since
S(t, t + l)[p, q] = S(t + l, t)[q, p].
"""
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from . import stss_tiles

# Frames per chunk on a CPU: their keys stay in the cache from one distance to
# the next.
_FRAMES = 4


class _Chunk(NamedTuple):
    """Frames that are multiplied at once, and all that they may meet."""
    first: int
    stop: int
    clip_first: int
    clip_stop: int


def _chunks(N: int, T: int, device: torch.device) -> list[_Chunk]:
    """All frames of N clips.

    On devices other than a CPU they are one chunk, which needs the fewest
    operators: the pairs across clips are multiplied, too, and discarded.
    """
    if device.type != 'cpu':
        return [_Chunk(0, N * T, 0, N * T)]
    return [
        _Chunk(first, min(first + _FRAMES, clip + T), clip, clip + T)
        for clip in range(0, N * T, T)
        for first in range(clip, clip + T, _FRAMES)
    ]


def beyond(offsets: Sequence[int], T: int) -> Iterator[tuple[int, int, int]]:
    """Yield (t, i, other) for each offset i of a frame t that points beyond
    the clip's ends, to which frame ``other`` is nearest."""
    for i, offset in enumerate(offsets):
        for t in range(T):
            if not 0 <= t + offset < T:
                yield t, i, min(max(t + offset, 0), T - 1)


def repeats(offsets: Sequence[int], T: int) -> tuple[list[tuple], list[tuple]]:
    """The entries beyond the clip's ends that repeat another offset of their
    frame, (t, i, index of that offset), and the others, (t, i, other)."""
    slots = {offset: i for i, offset in enumerate(offsets)}
    known, unknown = [], []
    for t, i, other in beyond(offsets, T):
        if other - t in slots:
            known.append((t, i, slots[other - t]))
        else:
            unknown.append((t, i, other))
    return known, unknown


def _pair_clips(q: Tensor, pairs: list[tuple]) -> Tensor:
    """[N, T, ...] => [N * P, 2, ...], a clip of each (t, _, other)"""
    frames = [frame for t, _, other in pairs for frame in (t, other)]
    pairs = torch.stack([q[:, frame] for frame in frames], 1)
    return pairs.unflatten(1, (-1, 2)).flatten(0, 1)


def _strips(x: Tensor, positions: Tensor | None, strips: int) -> Tensor:
    """[F, H, W, C] => [F * strips, H, columns, C]"""
    if positions is None:
        return x
    F, H, _, C = x.shape
    x = x.flatten(1, 2).index_select(1, positions)
    # [F, strips * H * columns, C] => [F * strips, H, columns, C]
    return x.view(F * strips, H, -1, C)


def _tiles(x: Tensor, start: int, stop: int, rows: Tensor | None,
           tiles: int) -> Tensor:
    """[F * strips, H, columns, C] => [F * n, Q or K, C], n per frame"""
    x = x[:, start:stop]
    if rows is not None:
        x = x.index_select(1, rows).unflatten(1, (tiles, -1)).flatten(0, 1)
    return x.flatten(1, 2)


def _gather(x: Tensor, index: Tensor, **kwargs) -> Tensor:
    """[F, ...], [M] => [F, M]; faster than index_select."""
    x = x.flatten(1)
    return torch.gather(x, 1, index.expand(len(x), -1), **kwargs)


def _maps(x: Tensor, slot: int, start: int, stop: int) -> Tensor:
    """[F, L, H, W, U, V] => [F, h * W * U * V], a view"""
    return x[:, slot, start:stop].flatten(1)


def products(q: Tensor, offsets: Sequence[int], U: int, V: int,
             replicate: bool) -> Tensor:
    """[N, T, H, W, C] => [N, T, L, H, W, U, V], see :func:`stss`."""
    (N, T, H, W, _), L = q.shape, len(offsets)
    out = q.new_empty(N, T, L, H, W, U, V)
    if not out.numel():
        return out
    x, maps, F = q.contiguous().flatten(0, 1), out.flatten(0, 1), N * T
    chunks = _chunks(N, T, q.device)
    slots = {offset: i for i, offset in enumerate(offsets)}
    distances = {abs(offset) for offset in offsets if abs(offset) < T}
    plan = stss_tiles.plan(H, W, U, V, q.device)
    strips = plan.strips[0]
    queries = _strips(x, plan.queries, strips)
    keys = _strips(x, plan.keys, strips)
    for (start, stop, key_start, key_stop), band in plan.spans:
        n = strips * band.tiles[0]
        query = _tiles(queries, start, stop, band.rows, band.tiles[0])
        key = _tiles(keys, key_start, key_stop, band.key_rows, band.tiles[0])
        for chunk, d in product(chunks, distances):
            # t is compared with t + d or, if d is no offset, t + d with t
            own, other, slot = ((0, d, slots[d]) if d in slots else
                                (d, 0, slots[-d]))
            first, last = chunk.first, min(chunk.stop, chunk.clip_stop - d)
            if first >= last:
                continue
            dense = torch.bmm(
                query[(first + own) * n:(last + own) * n],
                key[(first + other) * n:(last + other) * n].transpose(1, 2))
            seen = _maps(maps[first + own:last + own], slot, start, stop)
            # [f * n, Q, K] => [f, h * W * U * V]
            _gather(dense.view(last - first, -1), band.index, out=seen)
            seen.masked_fill_(band.beyond, 0)
    for d in distances - {0}:
        if d not in slots or -d not in slots:
            continue
        for (start, stop, key_start, key_stop), band in plan.spans:
            _gather(
                _maps(maps[:F - d], slots[d], key_start, key_stop),
                band.mirror,
                out=_maps(maps[d:], slots[-d], start, stop))
    if replicate:
        _repeat(out, q, offsets)
    else:
        _zero_ends(out, offsets)
    return out


def _zero_ends(maps: Tensor, offsets: Sequence[int]) -> None:
    """Zero the entries beyond the clip's ends, [N, T, L, H, W, U, V]."""
    T = maps.shape[1]
    for i, offset in enumerate(offsets):
        ends = slice(max(T - offset, 0), T) if offset > 0 else slice(-offset)
        maps[:, ends, i] = 0


def _repeat(out: Tensor, q: Tensor, offsets: Sequence[int]) -> None:
    known, unknown = repeats(offsets, q.shape[1])
    for t, i, j in known:
        out[:, t, i] = out[:, t, j]
    if unknown:
        _, U, V = out.shape[-3:]
        pairs = products(
            _pair_clips(q, unknown), (1, ), *out.shape[-2:], False)
        # [N * P, 2, 1, H, W, U, V] => [N, P, H, W, U, V]
        pairs = pairs[:, 0, 0].unflatten(0, (-1, len(unknown)))
        for p, (t, i, _) in enumerate(unknown):
            out[:, t, i] = pairs[:, p]


def products_backward(grad: Tensor, q: Tensor, offsets: Sequence[int], U: int,
                      V: int, replicate: bool) -> Tensor:
    """The gradient of :func:`products`, [N, T, H, W, C].

    The similarity of t to t + d and that of t + d to t are one number with
    two gradients. Their sum, scattered into the product, is multiplied with
    the keys, for +d and -d: each position's gradient comes only from its own
    tile.
    """
    grad_q = torch.zeros_like(q, memory_format=torch.contiguous_format)
    if not grad.numel() or not q.numel():
        return grad_q
    (N, T, H, W, _), F = q.shape, q.shape[0] * q.shape[1]
    chunks = _chunks(N, T, q.device)
    across_clips = N > 1 and len(chunks) == 1
    if replicate or across_clips:
        grad = grad.clone(memory_format=torch.contiguous_format)
    else:
        grad = grad.contiguous()
    if replicate:
        _gather_repeats(grad, q, grad_q, offsets)
    if across_clips:
        _zero_ends(grad, offsets)
    x, maps = q.contiguous().flatten(0, 1), grad.flatten(0, 1)
    slots = {offset: i for i, offset in enumerate(offsets)}
    both = {sign * o for o in offsets for sign in (1, -1) if abs(o) < T}
    plan = stss_tiles.plan(H, W, U, V, q.device)
    strips, columns, key_columns = plan.strips
    most = max(chunk.stop - chunk.first for chunk in chunks)
    keys = _strips(x, plan.keys, strips)
    query_grads = []
    for (start, stop, *reach), band in plan.spans:
        tiles, rows, key_rows = band.tiles
        n, Q, K = strips * tiles, rows * columns, key_rows * key_columns
        key = _tiles(keys, *reach, band.key_rows, tiles)
        dense = q.new_zeros(most, n * Q * K)
        query_grad = q.new_zeros(F * n, Q, q.shape[-1])
        # If one tile is the map, a pair of frames shares one product,
        # transposed; otherwise each has its own.
        whole = (n, rows, key_rows) == (1, H, H)
        for chunk, offset in product(chunks, both):
            if whole and offset < 0:
                continue
            begin = max(chunk.first, chunk.clip_first - offset)
            end = min(chunk.stop, chunk.clip_stop - max(offset, 0))
            frames = end - begin
            if frames <= 0:
                continue
            # Frames `here` are compared with frames `there` at the offset,
            # and the other way round at its negative.
            here = slice(begin, begin + frames)
            there = slice(begin + offset, begin + offset + frames)
            weights = []
            if offset in slots:
                seen = _maps(maps[here], slots[offset], start, stop)
                weights.append(_gather(seen, band.seen))
            if -offset in slots:
                seen = _maps(maps[there], slots[-offset], *reach)
                weights.append(_gather(seen, band.seen_mirror))
            if len(weights) > 1:
                weights[0].add_(weights[1])
            spread = dense[:frames].scatter_(
                1, band.seen_index.expand(frames, -1), weights[0])
            spread = spread.view(-1, Q, K)
            query_grad[here.start * n:here.stop * n].baddbmm_(
                spread, key[there.start * n:there.stop * n])
            if whole and offset > 0:
                query_grad[there].baddbmm_(spread.transpose(1, 2), key[here])
        # [F * n, Q, C] => [F, strips, h, columns, C]
        query_grads.append(
            query_grad.view(F, strips, tiles * rows, columns,
                            -1)[:, :, :stop - start])
    # [F, strips, H, columns, C] => [F, H, W, C]
    query_grad = torch.cat(query_grads, 2).transpose(1, 2).flatten(2, 3)
    return grad_q.add_(query_grad[:, :, :W].view(q.shape))


def _gather_repeats(grad: Tensor, q: Tensor, grad_q: Tensor,
                    offsets: Sequence[int]) -> None:
    """Add the gradient of repeated entries to those that they repeat."""
    known, unknown = repeats(offsets, q.shape[1])
    for t, i, j in known:
        grad[:, t, j].add_(grad[:, t, i])
    if unknown:
        clips = _pair_clips(q, unknown)
        grad_clips = grad.new_zeros(clips.shape[0], 2, 1, *grad.shape[3:])
        grad_clips[:, 0,
                   0] = torch.stack([grad[:, t, i] for t, i, _ in unknown],
                                    1).flatten(0, 1)
        grad_clips = products_backward(grad_clips, clips, (1, ),
                                       *grad.shape[-2:], False)
        # [N * P, 2, H, W, C] => [N, P, 2, H, W, C]
        grad_clips = grad_clips.unflatten(0, (-1, len(unknown)))
        for p, (t, _, other) in enumerate(unknown):
            grad_q[:, t].add_(grad_clips[:, p, 0])
            grad_q[:, other].add_(grad_clips[:, p, 1])


def products_in_a_graph(q: Tensor, offsets: Sequence[int], U: int, V: int,
                        replicate: bool) -> Tensor:
    """What :func:`products` gives, for exporters and torch.func.

    Nothing is written in place: for exporters each such write is a copy, or
    an operator that the runtime lacks, and torch.func cannot batch some.
    """
    _, T, H, W, _ = q.shape
    frames = [[t + offset for offset in offsets] for t in range(T)]
    frames = torch.tensor(frames, device=q.device)
    outside = (frames < 0) | (frames >= T)
    # [N, T, H, W, C] => [N, T * L, H, W, C]
    neighbours = q.index_select(1, frames.clamp(0, T - 1).flatten())
    plan = stss_tiles.build(H, W, U, V, one_batch=True)
    plan = stss_tiles.on_device(plan, q.device)
    (_, band), = plan.spans

    def cut(x: Tensor, positions: Tensor | None,
            rows: Tensor | None) -> Tensor:
        """[N, F, H, W, C] => [N, F, n, Q or K, C]"""
        x = x.unsqueeze(2)
        if positions is not None:
            # => [N, F, strips, H, columns, C]
            x = x.flatten(2, 4).index_select(2, positions).unflatten(
                2, (plan.strips[0], H, -1))
        if rows is not None:
            x = x.index_select(3, rows)
        # [N, F, strips, tiles * rows, columns, C] => [N, F, n, Q, C]
        return x.unflatten(3, (band.tiles[0], -1)).flatten(4, 5).flatten(2, 3)

    query = cut(q, plan.queries, band.rows)
    key = cut(neighbours, plan.keys, band.key_rows).unflatten(1, (T, -1))
    # [N, T, 1, n, Q, C], [N, T, L, n, K, C] => [N, T, L, n, Q, K]
    dense = query[:, :, None] @ key.transpose(-1, -2)
    maps = dense.flatten(3).index_select(3, band.index)
    beyond = band.beyond if replicate else outside[..., None] | band.beyond
    return maps.masked_fill(beyond, 0).unflatten(3, (H, W, U, V))
