"""Pictures of what a SELFY block sees (Fig. 1 of the paper)."""
import base64
import html
import io
import json
import math
import string
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from PIL import Image

from ..apis.similarity import Position, SelfSimilarity
from ..apis.video import write_video
from ..files import replaced_when_done, write_text
from .flow import flow_to_color

ENDINGS = ('.png', '.html', '.mp4', '.webm', '.gif')

_CAPTION = (
    'A SELFY block compares each place of a video, the query (white square), '
    'with the places around it in the frames before and after.\nWhere those '
    'are most alike (arrow), it came from or goes to: the block sees motion, '
    'without optical flow.')
_HEAT = 'inferno'
# Of a frame beside a query, in inches; frames of the clip in a row; where
# titles begin.
_SIDE = 2.
_COLUMNS = 8
_LEFT = 0.008
_PAGE = string.Template("""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
body { font: 16px sans-serif; margin: 1em auto; max-width: 1140px; }
label { display: flex; align-items: center; gap: 1em; }
input { flex: 1; }
img { width: 100%; }
</style>
<label>The query looks from frame <output></output>
<input type="range" min="0" max="$last" value="$first" autofocus></label>
<img alt="$title">
<script>
const images = $images;
const [slider, number, image] = ['input', 'output', 'img'].map(
    (tag) => document.querySelector(tag));
const show = () => {
    number.value = slider.value;
    image.src = images[slider.value];
};
slider.addEventListener('input', show);
show();
</script>
</html>
""")


def draw(seen: SelfSimilarity, positions: Sequence[Position],
         title: str) -> Figure:
    """Draw what a SELFY block sees, for someone who has never heard of it.

    From top to bottom: for each query, its similarities to the places around
    it; for each frame that has queries, its displacements; and for every
    frame of the clip, what the block adds.

    Args:
        seen (SelfSimilarity): What it sees.
        positions (Sequence[Position]): The queries.
        title (str): What stands above.

    Raises:
        ValueError: If a position is outside the map.
    """
    for position in positions:
        seen.check(position)
    queries = [
        _Query(f' {number}' if len(positions) > 1 else '', *position)
        for number, position in enumerate(positions, 1)
    ]
    frames = dict.fromkeys(query.frame for query in queries)
    (T, H, W, _), L = seen.frames.shape, seen.similarities.shape[3]
    small = _SIDE * L / _COLUMNS
    strips = math.ceil(T / _COLUMNS)
    # A header, a row per query and frame, and the clip, in inches.
    heights = [
        1, *[_SIDE * H / W + 0.6] * (len(queries) + len(frames)),
        strips * (small * H / W + 0.3) + 0.3
    ]
    figure = Figure((_SIDE * L + 1.4, sum(heights)), layout='constrained')
    header, *rows, footer = figure.subfigures(
        len(heights), 1, height_ratios=heights)
    header.text(_LEFT, 0.8, title, size=15, weight='bold', va='center')
    header.text(_LEFT, 0.3, _CAPTION, va='center', linespacing=1.4)
    rows = iter(rows)
    for frame in frames:
        of_frame = [query for query in queries if query.frame == frame]
        for query in of_frame:
            _draw_similarities(next(rows), seen, query)
        _draw_displacements(next(rows), seen, frame, of_frame)
    _draw_energy(footer, seen, strips, queries)
    return figure


def write(path: Path, seen: SelfSimilarity, positions: Sequence[Position],
          title: str) -> None:
    """Write a picture, or one per frame as a video or a web page.

    In a video or page the queries stay where they are, and look from one
    frame after the other.

    Args:
        path (Path): A file with an ending of `check_path`.
        seen (SelfSimilarity): What the block sees.
        positions (Sequence[Position]): The queries.
        title (str): What stands above.
    """
    check_path(path)
    if path.suffix.lower() == '.png':
        with replaced_when_done(path) as unfinished:
            draw(seen, positions, title).savefig(unfinished)
        return
    places = dict.fromkeys(position[1:] for position in positions)
    pictures = (
        to_image(draw(seen, [(t, *place) for place in places], title))
        for t in range(len(seen.frames)))
    if path.suffix.lower() == '.html':
        write_text(path, _to_html(pictures, positions[0][0], title))
    else:
        write_video(path, pictures, fps=1)


def check_path(path: Path) -> None:
    """Raise a ValueError unless `write` can write such a file."""
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f'{path} cannot be written: give it the ending '
                         f'{", ".join(ENDINGS[:-1])} or {ENDINGS[-1]}.')


def to_image(figure: Figure) -> np.ndarray:
    """A figure as RGB of type uint8, of even height and width."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())[..., :3]
    height, width = (size // 2 * 2 for size in image.shape[:2])
    return image[:height, :width]


def _to_html(pictures: Iterable[np.ndarray], first: int, title: str) -> str:
    """A page that shows one of the pictures, chosen by a slider."""
    images = []
    for picture in pictures:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, 'WebP', quality=85)
        images.append(base64.b64encode(file.getvalue()).decode())
    return _PAGE.substitute(
        title=html.escape(title),
        first=first,
        last=len(images) - 1,
        images=json.dumps([f'data:image/webp;base64,{x}' for x in images]))


class _Query(NamedTuple):
    """A position to look from, and what it is called."""
    name: str
    frame: int
    row: int
    column: int


def _draw_similarities(row: SubFigure, seen: SelfSimilarity,
                       query: _Query) -> None:
    """The similarities of a query, on the frames that it is compared with."""
    name, t, y, x = query
    maps = seen.similarities[t, y, x].numpy()
    L, U, V = maps.shape
    # A similarity of exactly 0 is to a place outside the clip.
    maps = np.where(maps == 0, np.nan, maps)
    norm = _norm_of(maps)
    moves = seen.displacements(t)[:, y, x]
    axes, legend = _add_axes(
        row, 1, L, f'How alike?  The query{name} (frame {t}, row {y}, column '
        f'{x}) and the places around it')
    for l, ax in enumerate(axes):
        offset = l - L // 2
        when = f'{abs(offset)} {"before" if offset < 0 else "after"}'
        ax.set_title(f'frame {t + offset}: {when if offset else "the query"}')
        if not _show_frame(ax, seen, t + offset, t + offset):
            continue
        first = (y - U // 2, x - V // 2)
        _show_cells(ax, seen, maps[l], first, cmap=_HEAT, norm=norm)
        # There, the query has gone: only its outline is left.
        _mark(ax, seen, query, ':' if offset else '-')
        if offset and np.isfinite(moves[l]).all():
            start = seen.stride * np.array([x, y])
            arrow = ax.annotate(
                '',
                start + moves[l],
                start,
                arrowprops=dict(
                    arrowstyle='-|>',
                    color='w',
                    lw=2,
                    shrinkA=0,
                    shrinkB=0,
                    mutation_scale=14))
            # What reaches over the side of a frame takes no room.
            arrow.set_in_layout(False)
            ax.plot(
                *(start + moves[l]), 'o', mfc='none', mec='w', ms=12, mew=2)
    _add_bar(row, legend, norm, 'similarity')


def _draw_displacements(row: SubFigure, seen: SelfSimilarity, t: int,
                        queries: Sequence[_Query]) -> None:
    """The displacements of all places of a frame to its neighbours."""
    moves = seen.displacements(t)
    longest = _norm_of(np.linalg.norm(moves, axis=-1)).vmax
    axes, legend = _add_axes(
        row, 1, len(moves), f'Where to?  From each place of frame {t} to the '
        'most similar one around it')
    for l, ax in enumerate(axes):
        neighbour = t + l - len(moves) // 2
        ax.set_title(f'to frame {neighbour}')
        if not _show_frame(ax, seen, t, neighbour):
            continue
        _show_cells(ax, seen, flow_to_color(moves[l], longest))
        # The longest arrow is as long as a cell.
        rows, columns = seen.stride * np.indices(moves.shape[1:3])
        ax.quiver(
            columns,
            rows,
            moves[l, ..., 0],
            moves[l, ..., 1],
            pivot='mid',
            angles='xy',
            scale_units='xy',
            scale=longest / seen.stride,
            width=0.006,
            headwidth=5,
            color='0.2')
        for query in queries:
            _mark(ax, seen, query)
    y, x = np.mgrid[-1:1:101j, -1:1:101j]
    wheel = flow_to_color(np.stack([x, y], -1), 1)
    wheel[np.hypot(x, y) > 1] = 255
    ax = legend.inset_axes([0, 0.3, 1, 0.5])
    ax.imshow(wheel)
    ax.axis('off')
    ax.set_title('direction', size=10)
    ax.text(50, 108, f'edge:\n{longest:.0f} pixels', ha='center', va='top')
    ax.set_in_layout(False)


def _draw_energy(footer: SubFigure, seen: SelfSimilarity, strips: int,
                 queries: Sequence[_Query]) -> None:
    """What the block adds to all frames of the clip."""
    axes, legend = _add_axes(
        footer, strips, _COLUMNS, 'What for?  How much the block adds to the '
        'features of each place, from this motion')
    energy = seen.energy.numpy()
    norm = Normalize(0, energy.max() or 1)
    for t, ax in enumerate(axes):
        if t >= len(energy):
            ax.axis('off')
            continue
        ax.set_title(f'frame {t}')
        _show_frame(ax, seen, t, t)
        _show_cells(ax, seen, energy[t], cmap=_HEAT, norm=norm)
        for query in queries:
            if query.frame == t:
                _mark(ax, seen, query)
    _add_bar(footer, legend, norm, 'length of what\nis added')


def _add_axes(figure: SubFigure, rows: int, columns: int,
              title: str) -> tuple[list[Axes], Axes]:
    """Axes for frames, row by row, and beside them one for a legend."""
    figure.suptitle(title, x=_LEFT, ha='left', size=11, weight='bold')
    grid = figure.add_gridspec(
        rows, columns + 1, width_ratios=[1] * columns + [columns / 9])
    axes = [
        figure.add_subplot(grid[i, j]) for i in range(rows)
        for j in range(columns)
    ]
    legend = figure.add_subplot(grid[:, -1])
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
        ax.text(
            0.5,
            0.5,
            'beyond\nthe clip',
            transform=ax.transAxes,
            ha='center',
            va='center',
            color='0.5')
    ax.imshow(frame, interpolation='bicubic')
    ax.set(xticks=[], yticks=[])
    ax.title.set_size(10)
    ax.autoscale(False)
    return inside


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
    s = seen.stride
    ax.add_patch(
        Rectangle((s * (query.column - 0.5), s * (query.row - 0.5)),
                  s,
                  s,
                  fill=False,
                  color='w',
                  lw=2,
                  ls=style))
    ax.text(
        s * (query.column + 0.6),
        s * query.row,
        query.name.strip(),
        color='w',
        weight='bold',
        va='center',
        clip_on=True)


def _norm_of(values: np.ndarray) -> Normalize:
    """From the least to the greatest known value."""
    known = values[np.isfinite(values)]
    return Normalize(*((known.min(), known.max()) if known.any() else (0, 1)))
