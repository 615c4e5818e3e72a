"""Where the windows of a map's positions lie in the products of its tiles.

The products of all pairs of positions would grow with the square of the map.
So it is cut into tiles: the positions of a tile are multiplied with those
that their windows reach, and the band of the product that the windows cover
is kept.
"""
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from math import ceil
from typing import Any, NamedTuple

import torch
from torch import Tensor

# A map of up to _WHOLE rows and columns is one tile, since larger matrices
# are faster; otherwise tiles have up to _ROWS rows, and as many of _COLUMNS
# columns as leave the fewest over, the first of equals.
_WHOLE = 16
_ROWS = 4
_COLUMNS = (8, 7, 10, 9)


class Span(NamedTuple):
    """Consecutive rows of a map, and the rows that their windows reach."""
    start: int
    stop: int
    key_start: int
    key_stop: int


class Band(NamedTuple):
    """A span of rows, cut into tiles of Q queries that reach K keys each.

    Rows are counted from the first of the span, rows of keys from the first
    that it reaches. A map is that of one frame, flattened over (h, w, u, v);
    a product is flattened over (strip, tile of it, query, key). Where a strip
    is one tile, it has all rows, and their indices are None.
    """
    tiles: tuple[int, int, int]  # tiles per strip, rows of one, keys' rows
    rows: Tensor | None  # [tiles * rows]
    key_rows: Tensor | None  # [tiles * keys' rows]
    # For each entry of the map: its index in the product, and whether the
    # neighbour is beyond the map. If so, the index is that of the nearest key.
    index: Tensor
    beyond: Tensor
    # For each entry: the index, in the map of the keys' rows, of the
    # neighbour's similarity to the position. Without a neighbour, the entry
    # itself, which is 0 too.
    mirror: Tensor
    # Only for entries whose neighbour exists: their index in the map, in the
    # map of the keys' rows as above, and in the product.
    seen: Tensor
    seen_mirror: Tensor
    seen_index: Tensor


class Plan(NamedTuple):
    """A map, cut into strips of columns and these into tiles.

    If there is one strip, it is the map, and the positions are None.
    """
    strips: tuple[int, int, int]  # strips, columns of one, keys' columns
    queries: Tensor | None  # [strips * H * columns], positions of the map
    keys: Tensor | None  # [strips * H * keys' columns]
    spans: tuple[tuple[Span, Band], ...]  # those of one shape share a band


class _Side(NamedTuple):
    """One side of a span, cut into n tiles of equal size."""
    size: int  # positions
    num_keys: int
    first: int  # the key at position 0
    tile: int  # positions per tile; the last may have fewer
    reach: int  # keys per tile
    starts: tuple[int, ...]  # of each tile, its first key


def _cut(size: int, num_keys: int, first: int, window: int,
         tile: int) -> _Side:
    bounds = [(max(first + start - window // 2, 0),
               min(first + min(start + tile, size) + window // 2, num_keys))
              for start in range(0, size, tile)]
    reach = max(stop - start for start, stop in bounds)
    return _Side(size, num_keys, first, tile, reach,
                 tuple(min(start, num_keys - reach) for start, _ in bounds))


def _tiled(side: _Side) -> tuple[Tensor, Tensor]:
    """Positions [n, tile] and keys [n, reach] of each tile."""
    starts = torch.arange(len(side.starts))[:, None] * side.tile
    positions = (starts + torch.arange(side.tile)).clamp(max=side.size - 1)
    keys = torch.tensor(side.starts)[:, None] + torch.arange(side.reach)
    return positions, keys


def _neighbours(side: _Side, window: int) -> tuple[Tensor, Tensor]:
    """Keys of each position, [size, window], and whether they exist."""
    keys = (
        torch.arange(side.size)[:, None] + side.first + torch.arange(window) -
        window // 2)
    return keys.clamp(0, side.num_keys - 1), (keys >= 0) & (
        keys < side.num_keys)


def _band(rows: _Side, cols: _Side, U: int, V: int) -> Band:
    (row, row_in), (col, col_in) = _neighbours(rows, U), _neighbours(cols, V)
    inside = row_in[:, None, :, None] & col_in[None, :, None]
    tiles = len(rows.starts), rows.tile, rows.reach

    # Where a position lies among the queries, [h, W], ...
    h, w = torch.arange(rows.size)[:, None], torch.arange(cols.size)
    tile_h, tile_w = h // rows.tile, w // cols.tile
    query = ((
        (tile_w * tiles[0] + tile_h) * rows.tile + h % rows.tile) * cols.tile +
             w % cols.tile)
    # ... and a neighbour among the keys of its tile: [h, W, U, V]
    row_key = row - torch.tensor(rows.starts)[tile_h]
    col_key = col - torch.tensor(cols.starts)[tile_w][:, None]
    index = (
        (query[..., None, None] * rows.reach + row_key[:, None, :, None]) *
        cols.reach + col_key[None, :, None])
    # The position in the neighbour's map.
    u, v = torch.arange(U)[:, None], torch.arange(V)
    there = row[:, None, :, None] * cols.size + col[None, :, None]
    here = ((h + rows.first) * cols.size + w)[..., None, None]
    mirror = torch.where(inside, (there * U + U - 1 - u) * V + V - 1 - v,
                         (here * U + u) * V + v)

    positions, keys = map(torch.flatten, _tiled(rows))
    cut = tiles[0] > 1
    return Band(tiles, positions if cut else None, keys if cut else None,
                index.flatten(), ~inside.flatten(), mirror.flatten(),
                inside.flatten().nonzero()[:, 0], mirror[inside],
                index[inside])


def _balanced(size: int, most: int) -> int:
    """The size of the fewest equal tiles of at most ``most`` positions."""
    return ceil(size / ceil(size / most))


def build(H: int, W: int, U: int, V: int, one_batch: bool) -> Plan:
    """Cut a map of H x W positions, compared in windows of U x V, into tiles.

    With ``one_batch`` all tiles are one span, for few operators; otherwise
    each row of tiles is, for products that fit a CPU's cache and no key beyond
    the map's upper and lower sides.
    """
    tile = H if H <= _WHOLE and W <= _WHOLE else _balanced(H, _ROWS)
    columns = W if W <= _WHOLE else min(_COLUMNS, key=lambda size: -W % size)
    cols = _cut(W, W, 0, V, columns)
    step, bands, spans = H if one_batch else tile, {}, []
    for start in range(0, H, step):
        stop = min(start + step, H)
        span = Span(start, stop, max(start - U // 2, 0), min(stop + U // 2, H))
        shape = (stop - start, span.key_stop - span.key_start,
                 start - span.key_start)
        if shape not in bands:
            rows = _cut(*shape, U, min(tile, stop - start))
            bands[shape] = _band(rows, cols, U, V)
        spans.append((span, bands[shape]))

    strips = len(cols.starts)
    queries = keys = None
    if strips > 1:
        row = torch.arange(H)[:, None] * W
        # [strips, columns] => [strips, H, columns]
        queries, keys = ((row + x[:, None]).flatten() for x in _tiled(cols))
    return Plan((strips, cols.tile, cols.reach), queries, keys, tuple(spans))


def on_device(x: Any, device: torch.device, done: dict | None = None) -> Any:
    """A plan on a device; tensors shared by its parts stay shared."""
    done = {} if done is None else done
    if id(x) not in done:
        if isinstance(x, Tensor):
            done[id(x)] = x.to(device)
        elif isinstance(x, tuple):
            parts = [on_device(part, device, done) for part in x]
            done[id(x)] = type(x)(
                *parts) if hasattr(x, '_fields') else tuple(parts)
        else:
            return x
    return done[id(x)]


def _build_on(H: int, W: int, U: int, V: int, device: torch.device) -> Plan:
    on_cuda = device.type == 'cuda'
    if on_cuda and torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            f'stss has not run on maps of {H} x {W} yet: run it once before '
            'capturing a CUDA graph of it, as its warm-up does.')
    # A later call may record an autograd graph, in which inference tensors
    # are not allowed.
    with torch.inference_mode(False), torch.no_grad():
        built = build(H, W, U, V, device.type != 'cpu')
        if not on_cuda:
            return on_device(built, device)
    # Another thread has another stream: its memory belongs to no graph that
    # is being prepared on this one.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(on_device, built, device).result()


_recent = lru_cache(maxsize=8)(_build_on)
_kept = lru_cache(maxsize=None)(_build_on)


def plan(H: int, W: int, U: int, V: int, device: torch.device) -> Plan:
    """The result of :func:`build`, on a device, cached.

    It is built on the CPU, so that it is complete on return, whichever stream
    uses it. On other devices it is kept for ever: a CUDA graph may read it.

    Raises:
        RuntimeError: If it is not cached while a CUDA graph is captured.
    """
    cached = _recent if device.type == 'cpu' else _kept
    return cached(H, W, U, V, device)
