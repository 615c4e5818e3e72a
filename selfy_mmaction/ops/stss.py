"""STSS transformation (Sec. 3.1 of the paper): features to similarities.

Everything here needs torch alone. The products are matrix products over
whole frames, or over tiles of large ones; each unordered pair of frames is
multiplied once, since S(t, t + l)[p, q] = S(t + l, t)[q, p].
"""
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

SIMILARITIES = ('cosine', 'dot')
TEMPORAL_PADDINGS = ('zeros', 'replicate')

# A frame is cut into tiles of _TILE rows, so that the cost per position does
# not grow with the map, and of as many columns; up to _WHOLE columns stay
# together, since larger matrices are faster.
_TILE = 8
_WHOLE = 16


def check_window(
        window: Sequence[int],
        offsets: Sequence[int] | None = None
) -> tuple[tuple[int, int, int], tuple[int, ...]]:
    """Return the window (L, U, V) and the L temporal offsets as tuples.

    Args:
        window (Sequence[int]): (L, U, V), positive; U and V are odd, L is if
            no offsets are given.
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


class _Span(NamedTuple):
    """One side of a tile: its query positions and the keys they reach."""
    start: int
    stop: int
    key_start: int
    key_stop: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Queries, keys, and where query 0 stands among the keys."""
        return (self.stop - self.start, self.key_stop - self.key_start,
                self.start - self.key_start)


def _spans(size: int, reach: int, step: int) -> Iterator[_Span]:
    for start in range(0, size, step):
        stop = min(start + step, size)
        yield _Span(start, stop, max(start - reach, 0),
                    min(stop + reach, size))


def _offsets(num_queries: int, num_keys: int, first: int, size: int,
             device: torch.device) -> tuple[Tensor, Tensor]:
    """Key of each (query, offset) along one side, and whether it exists.

    ``first`` is the key that stands where query 0 does.
    """
    # [num_queries, 1] + [size] => [num_queries, size]
    key = (
        torch.arange(num_queries, device=device)[:, None] + first +
        torch.arange(size, device=device) - size // 2)
    return key, (key >= 0) & (key < num_keys)


def _band(rows: _Span, cols: _Span, U: int, V: int,
          device: torch.device) -> tuple[Tensor, Tensor]:
    """Where the window of each query lies in the product of a tile.

    Returns:
        tuple[Tensor, Tensor]: Two flat tensors over (h, w, u, v): the index
        into the product, flattened over (query, key), and whether that key
        exists. Where it does not, the index is one past the product's end.
    """
    row, row_in = _offsets(*rows.shape, U, device)
    col, col_in = _offsets(*cols.shape, V, device)
    (h, key_h, _), (w, key_w, _) = rows.shape, cols.shape
    query = torch.arange(h * w, device=device).view(h, w, 1, 1)
    # [h, 1, u, 1], [1, w, 1, v] => [h, w, u, v]
    index = ((query * key_h + row[:, None, :, None]) * key_w +
             col[None, :, None, :])
    inside = row_in[:, None, :, None] & col_in[None, :, None, :]
    index = torch.where(inside, index, h * w * key_h * key_w)
    return index.flatten(), inside.flatten()


def _mirror(H: int, W: int, U: int, V: int, device: torch.device) -> Tensor:
    """Index that turns the maps (h, w, u, v) of l into those of -l.

    It is its own inverse where the neighbour exists, and 0 elsewhere: entry
    0 looks up and left of the first position, so it is 0 in every map.
    """
    row, row_in = _offsets(H, H, 0, U, device)
    col, col_in = _offsets(W, W, 0, V, device)
    u = torch.arange(U - 1, -1, -1, device=device)[:, None]
    v = torch.arange(V - 1, -1, -1, device=device)
    # [h, 1, u, 1], [1, w, 1, v] => [h, w, u, v]
    position = row[:, None, :, None] * W + col[None, :, None, :]
    index = (position * U + u) * V + v
    inside = row_in[:, None, :, None] & col_in[None, :, None, :]
    return torch.where(inside, index, 0).flatten()


class _Tile(NamedTuple):
    """Queries, the keys that they reach, and their band, see ``_band``."""
    queries: tuple[slice, slice]
    keys: tuple[slice, slice]
    num_queries: int
    num_keys: int
    index: Tensor
    inside: Tensor


def _tiles(H: int, W: int, U: int, V: int,
           device: torch.device) -> list[_Tile]:
    bands, tiles = {}, []
    for rows in _spans(H, U // 2, _TILE):
        for cols in _spans(W, V // 2, W if W <= _WHOLE else _TILE):
            shapes = rows.shape, cols.shape
            if shapes not in bands:
                bands[shapes] = _band(rows, cols, U, V, device)
            tiles.append(
                _Tile((slice(rows.start, rows.stop),
                       slice(cols.start, cols.stop)),
                      (slice(rows.key_start, rows.key_stop),
                       slice(cols.key_start, cols.key_stop)),
                      rows.shape[0] * cols.shape[0],
                      rows.shape[1] * cols.shape[1], *bands[shapes]))
    return tiles


def _crop(x: Tensor, region: tuple[slice, slice]) -> Tensor:
    """[F, H, W, ...] => [F, h, w, ...]"""
    return x[:, region[0], region[1]]


def _take(x: Tensor, index: Tensor) -> Tensor:
    """[F, K], [M] => [F, M]; faster than index_select."""
    return x.gather(1, index.expand(x.shape[0], -1))


def _reflect(maps: Tensor, mirror: Tensor) -> Tensor:
    """Maps [F, H, W, U, V] of one temporal offset to those of its opposite."""
    return _take(maps.flatten(1), mirror).view(maps.shape)


def _pairs(offsets: Sequence[int],
           T: int) -> list[tuple[int, int | None, int | None]]:
    """Each distance between frames, and where it stands among the offsets.

    Returns:
        list[tuple]: Of each distance d < T, the index of the offset d, under
        which t sees t + d, and that of -d, under which t + d sees t.
    """
    slots = {offset: i for i, offset in enumerate(offsets)}
    distances = sorted({abs(offset) for offset in offsets})
    return [(d, slots.get(d), slots.get(-d) if d else None)
            for d in distances if d < T]


class _LocalProducts(torch.autograd.Function):
    """Inner products of a clip's positions with their neighbours.

    Only the features are kept for backward. The clips of a batch lie behind
    one another, so that frames t and t + d of all of them are two slices: the
    few pairs that belong to different clips are multiplied and thrown away.
    """

    @staticmethod
    def forward(ctx, q: Tensor, window: tuple[int, int, int],
                offsets: tuple[int, ...]) -> Tensor:
        """[N, T, H, W, C] => [N, T, L, H, W, U, V]"""
        ctx.save_for_backward(q)
        ctx.window, ctx.offsets = window, offsets
        (N, T, H, W, _), (L, U, V) = q.shape, window
        tiles = _tiles(H, W, U, V, q.device)
        if len(tiles) > 1:
            q = q.contiguous()  # one transposition instead of one a tile
        # [N, T, H, W, C] => [F, H, W, C]
        q, F = q.flatten(0, 1), N * T
        out = q.new_empty(N, T, L, H, W, U, V)
        # What t sees of t + d, for each distance d: [F - d, H, W, U, V]
        ahead = [(d, out.flatten(0, 1)[:F - d, later] if later is not None else
                  q.new_empty(max(F - d, 0), H, W, U, V), earlier)
                 for d, later, earlier in _pairs(offsets, T)]
        for tile in tiles:
            # [F, h, w, C] => [F, queries, C], [F, keys, C]
            query = _crop(q, tile.queries).flatten(1, 2)
            key = _crop(q, tile.keys).flatten(1, 2)
            index = tile.index.clamp(max=tile.num_queries * tile.num_keys - 1)
            inside = tile.inside.to(q.dtype)
            for d, maps, _ in ahead:
                product = torch.bmm(query[:F - d], key[d:].transpose(1, 2))
                # [F - d, queries, keys] => [F - d, queries * U * V]
                band = _take(product.flatten(1), index)
                region = _crop(maps, tile.queries)
                region.copy_(band.mul_(inside).view(region.shape))
        mirror = _mirror(H, W, U, V, q.device)
        for d, maps, earlier in ahead:
            if earlier is not None:
                out.flatten(0, 1)[d:, earlier] = _reflect(maps, mirror)
        for i, offset in enumerate(offsets):
            if offset > 0:
                out[:, max(T - offset, 0):, i] = 0
            else:
                out[:, :-offset, i] = 0
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        q, = ctx.saved_tensors
        (N, T, H, W, _), (_, U, V) = q.shape, ctx.window
        mirror = _mirror(H, W, U, V, q.device)
        maps = {}
        for d, later, earlier in _pairs(ctx.offsets, T):
            # Both directions of a pair meet in one product; pairs of
            # different clips have no gradient.
            both = grad.new_zeros(N, T, H, W, U, V)
            if later is not None:
                both[:, :T - d] = grad[:, :T - d, later]
            if earlier is not None:
                seen = grad[:, d:, earlier].flatten(0, 1)
                both[:, :T - d] += _reflect(seen, mirror).unflatten(
                    0, (N, T - d))
            maps[d] = both.flatten(0, 1)
        q = q.contiguous().flatten(0, 1)
        grad_q = torch.zeros_like(q)
        for tile in _tiles(H, W, U, V, q.device):
            query, key = _crop(q, tile.queries), _crop(q, tile.keys)
            grad_query, grad_key = _backward_of_tile(
                tile, query.flatten(1, 2), key.flatten(1, 2), {
                    d: _crop(x, tile.queries).flatten(1)
                    for d, x in maps.items()
                })
            _crop(grad_q, tile.queries).add_(grad_query.view(query.shape))
            _crop(grad_q, tile.keys).add_(grad_key.view(key.shape))
        return grad_q.unflatten(0, (N, T)), None, None


def _backward_of_tile(tile: _Tile, query: Tensor, key: Tensor,
                      maps: dict[int, Tensor]) -> tuple[Tensor, Tensor]:
    """Gradients of queries [F, queries, C] and keys [F, keys, C].

    Args:
        tile (_Tile): The tile.
        query (Tensor): [F, queries, C].
        key (Tensor): [F, keys, C].
        maps (dict[int, Tensor]): For each distance between frames, the
            gradient of its maps, [F, queries * U * V].
    """
    F = len(query)
    grad_query, grad_key = torch.zeros_like(query), torch.zeros_like(key)
    for d, band in maps.items():
        # What has no neighbour lands in a last column, cut off.
        product = band.new_zeros(
            max(F - d, 0), tile.num_queries * tile.num_keys + 1)
        product.scatter_(1, tile.index.expand(len(product), -1), band[:F - d])
        # [F - d, queries * keys + 1] => [F - d, queries, keys]
        product = product[:, :-1].unflatten(
            1, (tile.num_queries, tile.num_keys))
        grad_query[:F - d].baddbmm_(product, key[d:])
        grad_key[d:].baddbmm_(product.transpose(1, 2), query[:F - d])
    return grad_query, grad_key


def _products_of_all(q: Tensor, window: tuple[int, int, int],
                     offsets: tuple[int, ...]) -> Tensor:
    """What `_LocalProducts` gives, for runtimes that export targets.

    Nothing is written in place: there each such write is a copy, or an
    operator that the runtime lacks.

    [N, T, H, W, C] => [N, T, L, H, W, U, V]
    """
    (_, T, H, W, _), (_, U, V) = q.shape, window
    reach = max(map(abs, offsets))
    frames = pad(q, (0, 0) * 3 + (reach, reach))
    # [N, T, H, W, C] => [N, T, L, H, W, C]
    neighbours = torch.stack(
        [frames[:, reach + i:reach + i + T] for i in offsets], 2)
    maps = {}
    for tile in _tiles(H, W, U, V, q.device):
        query = q[(..., *tile.queries, slice(None))].flatten(2, 3)
        key = neighbours[(..., *tile.keys, slice(None))].flatten(3, 4)
        # [N, T, 1, queries, C], [N, T, L, keys, C] => [N, T, L, queries, keys]
        product = query[:, :, None] @ key.transpose(-1, -2)
        # Where there is no neighbour, the index is that of the last 0.
        band = pad(product.flatten(3), (0, 1)).index_select(3, tile.index)
        rows, cols = tile.queries
        shape = (rows.stop - rows.start, cols.stop - cols.start, U, V)
        maps.setdefault(rows.start, []).append(band.unflatten(3, shape))
    return torch.cat([torch.cat(row, 4) for row in maps.values()], 3)


def _normalize(x: Tensor, eps: float) -> Tensor:
    """Unit vectors over dim 2, by way of float32 for the half types: a
    length may exceed what float16 can hold."""
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    length = wide.square().sum(2, keepdim=True).add(eps).sqrt()
    return (wide / length).to(x.dtype)


def stss(x: Tensor,
         window: Sequence[int] = (5, 9, 9),
         similarity: str = 'cosine',
         temporal_padding: str = 'zeros',
         eps: float = 1e-6,
         offsets: Sequence[int] | None = None) -> Tensor:
    r"""Spatio-temporal self-similarity of a clip's features (Sec. 3.1).

    Each position is compared with its neighbours in space and time:

    .. math::
        S[n, t, h, w, l, u, v] = \langle q[n, t, :, h, w],
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
            :math:`q = x / \sqrt{\sum_c x_c^2 + eps}`; 'dot' takes
            :math:`q = x`. Defaults to 'cosine'.
        temporal_padding (str): What stands beyond the clip's ends: 'zeros',
            similarity 0 as in the official code, or 'replicate', the first
            and the last frame. Beyond the map's sides it is always 0.
            Defaults to 'zeros'.
        eps (float): Added to the squared length, inside the root.
            Defaults to 1e-6.
        offsets (Sequence[int], optional): The L frames to compare with,
            counted from the position's own, such as (0, 1, 2) for the later
            ones only; L need not be odd then. By default they are centred,
            -(L // 2) to L // 2.

    Returns:
        Tensor: Similarities, [N, T, H, W, L, U, V], of the type of ``x``;
        U is the vertical offset, V the horizontal one. In memory the order
        is [N, T, L, H, W, U, V], that in which convolutions over (U, V) and
        then over (H, W) read it.

    Raises:
        ValueError: If ``x`` is not a five-dimensional floating-point tensor,
            a window size is even or not positive, the offsets are not L
            different integers, or a choice is unknown.

    Time and memory grow linearly with T and with H * W.
    """
    if x.dim() != 5 or not x.is_floating_point():
        raise ValueError('x must be floating-point features [N, T, C, H, W], '
                         f'but got {x.dtype} {tuple(x.shape)}.')
    window, offsets = check_window(window, offsets)
    check_choice('similarity', similarity, SIMILARITIES)
    check_choice('temporal_padding', temporal_padding, TEMPORAL_PADDINGS)

    q = _normalize(x, eps) if similarity == 'cosine' else x
    # [N, T, C, H, W] => [N, T, H, W, C]
    q = q.permute(0, 1, 3, 4, 2)
    reach, T = max(map(abs, offsets)), x.shape[1]
    if temporal_padding == 'replicate':
        frames = torch.arange(-reach, T + reach, device=x.device)
        q = q.index_select(1, frames.clamp(0, T - 1))
    # [N, T, H, W, C] => [N, T, L, H, W, U, V]
    products = (
        _products_of_all
        if torch.compiler.is_exporting() else _LocalProducts.apply)
    similarities = products(q, window, offsets)
    if temporal_padding == 'replicate':
        similarities = similarities[:, reach:reach + T]
    # => [N, T, H, W, L, U, V], a view
    return similarities.permute(0, 1, 3, 4, 2, 5, 6)
