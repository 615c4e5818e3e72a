"""Pictures of what a SELFY block sees (Fig. 1 of the paper)."""
import math
import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle

from ..apis.similarity import Position, SelfSimilarity
from .flow import color_wheel, flow_to_color

_CAPTION = (
    'A SELFY block compares each place of a video, the query (white square), '
    'with the places around it in the frames before and after.\nThe arrow '
    'goes to the most similar one. Where a surface has texture and stays in '
    'view, that is mostly where it went, or came from.')
_HEAT = 'inferno'
# Of a frame beside a query, in inches; frames of the clip in a row; where
# titles begin.
_SIDE = 2.
_COLUMNS = 8
_LEFT = 0.008
_ARROW = dict(
    arrowstyle='-|>', color='w', lw=2, shrinkA=0, shrinkB=0, mutation_scale=14)
_SMALL_ARROWS = dict(
    pivot='mid', angles='xy', scale_units='xy', width=0.006, headwidth=5,
    color='0.2')  # yapf: disable
# Where the most similar place stands out by less, everything around is alike.
_DISTINCT = 0.05


class _Query(NamedTuple):
    """A position to look from, and what it is called."""
    name: str
    frame: int
    row: int
    column: int


class _Layout(NamedTuple):
    """How frames are laid out, row by row, and the legend."""
    frames: int
    columns: int
    side: float  # width of a frame in inches
    legend_beside: bool  # or after the last frame

    @property
    def rows(self) -> int:
        return math.ceil(
            (self.frames + (not self.legend_beside)) / self.columns)

    def height(self, seen: SelfSimilarity, title: str) -> float:
        """In inches, with a line above each row, and a title."""
        _, H, W, _ = seen.frames.shape
        lines = 1 + title.count('\n')
        return self.rows * (self.side * H / W + 0.3) + 0.1 + 0.2 * lines


def draw(seen: SelfSimilarity,
         positions: Sequence[Position],
         title: str,
         columns: int | None = None) -> Figure:
    """Draw what a SELFY block sees, for someone who has never heard of it.

    From top to bottom: for each query, its similarities to the places around
    it; for each frame that has queries, its displacements; and for every
    frame of the clip, what the block adds.

    Args:
        seen (SelfSimilarity): What it sees.
        positions (Sequence[Position]): The queries.
        title (str): The heading.
        columns (int, optional): How many of the frames around a query are
            side by side, for narrow windows: 2 on a phone. By default all.

    Raises:
        ValueError: If a position is outside the map.
    """
    for position in positions:
        seen.check(position)
    queries = [
        _Query(f' {number}' if len(positions) > 1 else '', *position)
        for number, position in enumerate(positions, 1)
    ]
    T, L = len(seen.frames), seen.similarities.shape[3]
    if columns:
        width = _SIDE * columns
        around = _Layout(L, columns, _SIDE, False)
        clip = _Layout(T, columns + 1, width / (columns + 1), False)
    else:
        width = _SIDE * L + 1.4
        around = _Layout(L, L, _SIDE, True)
        clip = _Layout(T, _COLUMNS, _SIDE * L / _COLUMNS, True)
    parts = _divide(queries, around, clip)
    # Letters of these sizes fit in an inch.
    title, caption = _wrap(title, 6.5 * width), _wrap(_CAPTION, 13 * width)
    titles = [_wrap(text, 10 * width) for _, text, _ in parts]
    top = 0.3 + 0.3 * title.count('\n')
    heights = [top + 0.5 + 0.2 * caption.count('\n')] + [
        layout.height(seen, text)
        for (layout, *_), text in zip(parts, titles, strict=True)
    ]
    # Phones have fine screens.
    figure = Figure((width, sum(heights)),
                    dpi=200 if columns else 100,
                    layout='constrained')
    header, *rows = figure.subfigures(len(heights), 1, height_ratios=heights)
    header.text(
        _LEFT, 1 - 0.08 / heights[0], title, size=15, weight='bold', va='top')
    header.text(
        _LEFT,
        1 - (0.18 + top) / heights[0],
        caption,
        va='top',
        linespacing=1.4)
    for row, text, (layout, _, show) in zip(rows, titles, parts, strict=True):
        row.suptitle(text, x=_LEFT, ha='left', size=11, weight='bold')
        show(row, *_add_axes(row, layout), seen)
    return figure


def _divide(queries: Sequence[_Query], around: _Layout,
            clip: _Layout) -> list[tuple[_Layout, str, Callable]]:
    """The parts of a picture: the layout, title and what draws it."""
    parts = []
    for t in dict.fromkeys(query.frame for query in queries):
        of_frame = [query for query in queries if query.frame == t]
        parts += [(around, f'How alike?  The query{query.name} (frame {t}, '
                   f'row {query.row}, column {query.column}) and the places '
                   'around it', partial(_draw_similarities, query=query))
                  for query in of_frame]
        parts.append((around, f'Where to?  From each place of frame {t} to '
                      'the most similar one around it',
                      partial(_draw_displacements, t=t, queries=of_frame)))
    parts.append((clip, 'What for?  How much the block adds to the features '
                  'of each place, from the similarities',
                  partial(_draw_energy, queries=queries)))
    return parts


def _wrap(text: str, width: float) -> str:
    """Break each line of a text that has more letters than this."""
    return '\n'.join(
        textwrap.fill(line, int(width)) for line in text.split('\n'))


def to_image(figure: Figure) -> np.ndarray:
    """A figure as RGB of type uint8, of even height and width."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())[..., :3]
    height, width = (size // 2 * 2 for size in image.shape[:2])
    return image[:height, :width]


def _draw_similarities(row: SubFigure, axes: Sequence[Axes], legend: Axes,
                       seen: SelfSimilarity, query: _Query) -> None:
    """The similarities of a query, on the frames that it is compared with."""
    _, t, y, x = query
    maps = seen.similarities[t, y, x].numpy()
    _, U, V = maps.shape
    # Nothing is outside the map, or beyond the ends of the clip.
    maps = np.where(seen.within_map[y, x], maps, np.nan)
    maps[seen.beyond_clip(t)] = np.nan
    norm = _norm_of(maps)
    moves = seen.displacements(t)[:, y, x]
    distinct = seen.distinctness(t)[:, y, x]
    for l, (ax, offset) in enumerate(zip(axes, seen.offsets, strict=True)):
        when = f'{abs(offset)} {"before" if offset < 0 else "after"}'
        ax.set_title(f'frame {t + offset}: {when if offset else "the query"}')
        if not _show_frame(ax, seen, t + offset, t + offset):
            continue
        first = (y - U // 2, x - V // 2)
        _show_cells(ax, seen, maps[l], first, cmap=_HEAT, norm=norm)
        # In other frames, an outline marks the query's place.
        _mark(ax, seen, query, ':' if offset else '-')
        if offset and distinct[l] < _DISTINCT:
            _write(ax, 'all alike', color='w', weight='bold')
        elif offset and np.isfinite(moves[l]).all():
            start = seen.stride * np.array([x, y])
            end = start + moves[l]
            # An arrow that leaves the frame does not change the layout.
            ax.annotate('', end, start, arrowprops=_ARROW).set_in_layout(False)
            ax.plot(*end, 'o', mfc='none', mec='w', ms=12, mew=2)
    _add_bar(row, legend, norm, 'similarity')


def _draw_displacements(row: SubFigure, axes: Sequence[Axes], legend: Axes,
                        seen: SelfSimilarity, t: int,
                        queries: Sequence[_Query]) -> None:
    """The displacements of all places of a frame to its neighbours."""
    moves = seen.displacements(t)
    moves[seen.distinctness(t) < _DISTINCT] = np.nan
    longest = _norm_of(np.linalg.norm(moves, axis=-1)).vmax
    for l, (ax, offset) in enumerate(zip(axes, seen.offsets, strict=True)):
        neighbour = t + offset
        ax.set_title(f'to frame {neighbour}')
        if not _show_frame(ax, seen, t, neighbour):
            continue
        _show_cells(ax, seen, flow_to_color(moves[l], longest))
        # The longest arrow is as long as a cell.
        rows, columns = seen.stride * np.indices(moves.shape[1:3])
        x, y = np.moveaxis(moves[l], -1, 0)
        scale = longest / seen.stride
        ax.quiver(columns, rows, x, y, scale=scale, **_SMALL_ARROWS)
        for query in queries:
            _mark(ax, seen, query)
    ax = legend.inset_axes([0, 0.3, 1, 0.5])
    ax.imshow(color_wheel(101))
    ax.axis('off')
    ax.set_title('direction', size=10)
    ax.text(
        50,
        108,
        f'edge:\n{longest:.0f} pixels\nblack:\nall alike',
        ha='center',
        va='top')
    ax.set_in_layout(False)


def _draw_energy(row: SubFigure, axes: Sequence[Axes], legend: Axes,
                 seen: SelfSimilarity, queries: Sequence[_Query]) -> None:
    """What the block adds to all frames of the clip."""
    energy = seen.energy.numpy()
    norm = Normalize(0, energy.max() or 1)
    for t, ax in enumerate(axes):
        ax.set_title(f'frame {t}')
        _show_frame(ax, seen, t, t)
        _show_cells(ax, seen, energy[t], cmap=_HEAT, norm=norm)
        for query in queries:
            if query.frame == t:
                _mark(ax, seen, query)
    _add_bar(row, legend, norm, 'length of what\nis added')


def _add_axes(row: SubFigure, layout: _Layout) -> tuple[list[Axes], Axes]:
    """Axes for frames, and one for a legend."""
    rows, columns = layout.rows, layout.columns
    ratios = [1] * columns + [columns / 9] * layout.legend_beside
    grid = row.add_gridspec(rows, len(ratios), width_ratios=ratios)
    cells = list(np.ndindex(rows, columns))
    axes = [row.add_subplot(grid[cell]) for cell in cells[:layout.frames]]
    legend = row.add_subplot(
        grid[:, -1] if layout.legend_beside else grid[cells[layout.frames]])
    legend.axis('off')
    return axes, legend


def _add_bar(figure: SubFigure, legend: Axes, norm: Normalize,
             label: str) -> None:
    bar = legend.inset_axes([0, 0.05, 0.2, 0.9])
    figure.colorbar(ScalarMappable(norm, _HEAT), cax=bar, label=label)
    bar.set_in_layout(False)


def _show_frame(ax: Axes, seen: SelfSimilarity, t: int,
                neighbour: int) -> bool:
    """Show frame t, if its neighbour is in the clip, and whether it is."""
    T, H, W, _ = seen.frames.shape
    inside = 0 <= neighbour < T
    if inside:
        # Half gray: the colours on top have a meaning.
        gray = seen.frames[t].mean(-1, keepdims=True)
        frame = ((gray + seen.frames[t]) / 2).astype(np.uint8)
    else:
        frame = np.full((H, W, 3), 240, np.uint8)
        _write(ax, 'beyond\nthe clip', color='0.5')
    ax.imshow(frame, interpolation='bicubic')
    ax.set(xticks=[], yticks=[])
    ax.title.set_size(10)
    ax.autoscale(False)
    return inside


def _write(ax: Axes, text: str, **style) -> None:
    """Write in the middle of a frame."""
    ax.text(
        0.5,
        0.5,
        text,
        transform=ax.transAxes,
        ha='center',
        va='center',
        **style)


def _show_cells(ax: Axes,
                seen: SelfSimilarity,
                cells: np.ndarray,
                first: tuple[int, int] = (0, 0),
                **kwargs) -> None:
    """Lay cells [h, w] on a frame, the first of them at (row, column).

    All layers pad alike, so cell (i, j) looks at the pixels around
    (stride * i, stride * j): those in the first row and column lie half
    outside the frame.
    """
    (h, w), (y, x), s = cells.shape[:2], first, seen.stride
    left, top = s * (x - 0.5), s * (y - 0.5)
    ax.imshow(
        cells,
        extent=(left, left + s * w, top + s * h, top),
        alpha=0.65,
        **kwargs)


def _mark(ax: Axes,
          seen: SelfSimilarity,
          query: _Query,
          style: str = '-') -> None:
    row, column = query.row, query.column
    s = seen.stride
    box = Rectangle((s * (column - 0.5), s * (row - 0.5)), s, s)
    box.set(fill=False, color='w', lw=2, ls=style)
    ax.add_patch(box)
    ax.text(s * (column + 0.6), s * row, query.name.strip(), color='w',
            weight='bold', va='center', clip_on=True)  # yapf: disable


def _norm_of(values: np.ndarray) -> Normalize:
    """From the least to the greatest known value."""
    known = values[np.isfinite(values)]
    return Normalize(*((known.min(), known.max()) if known.any() else (0, 1)))
