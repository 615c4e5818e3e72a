"""The frames of a clip on one picture, to choose a place of them."""
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from selfy_mmaction.apis.similarity import Position, SelfSimilarity

# Narrower frames are enlarged to this, and the gap between them, in pixels.
_WIDTH = 256
_GAP = 8


class FrameGrid:
    """The frames that a block sees, row by row, with their numbers.

    Args:
        seen (SelfSimilarity): What it sees.
        columns (int, optional): Frames in a row; by default as many as rows.
    """

    def __init__(self,
                 seen: SelfSimilarity,
                 columns: int | None = None) -> None:
        self.seen = seen
        T, H, W, _ = seen.frames.shape
        self._columns = columns or math.ceil(math.sqrt(T))
        scale = max(1, _WIDTH / W)
        self._cell = scale * seen.stride
        self._size = round(scale * W), round(scale * H)

    def draw(self, query: Position) -> np.ndarray:
        """Draw the frames, and a square around a position.

        Returns:
            np.ndarray: RGB of type uint8, [H, W, 3].
        """
        width, height = self._size
        T = len(self.seen.frames)
        left, top = self._corner(self._columns - 1)[0], self._corner(T - 1)[1]
        grid = Image.new('RGB', (left + width, top + height), 'white')
        for t, frame in enumerate(self.seen.frames):
            picture = Image.fromarray(frame).resize(self._size,
                                                    Image.Resampling.BICUBIC)
            draw = ImageDraw.Draw(picture)
            # legible on any ground
            draw.text((6, 2), f'{t}', 'white', ImageFont.load_default(24),
                      stroke_width=2, stroke_fill='black')  # yapf: disable
            if t == query[0]:
                for color, inset in ('black', 0), ('white', 1):
                    draw.rectangle(
                        self._box(query, inset),
                        outline=color,
                        width=5 - 2 * inset)
            grid.paste(picture, self._corner(t))
        return np.array(grid)

    def position_at(self, x: float, y: float) -> Position | None:
        """The position at a pixel of the drawn grid, None beside a frame."""
        for t in range(len(self.seen.frames)):
            left, top = self._corner(t)
            width, height = self._size
            if 0 <= x - left < width and 0 <= y - top < height:
                _, rows, columns = self.seen.energy.shape
                return (t, min(round((y - top) / self._cell), rows - 1),
                        min(round((x - left) / self._cell), columns - 1))
        return None

    def _corner(self, t: int) -> tuple[int, int]:
        """The left and the top of a frame."""
        row, column = divmod(t, self._columns)
        width, height = self._size
        return column * (width + _GAP), row * (height + _GAP)

    def _box(self, query: Position, inset: int) -> list[float]:
        """The left, top, right and bottom of a position in its frame."""
        _, row, column = query
        return [(i + side) * self._cell - math.copysign(inset, side)
                for side in (-0.5, 0.5) for i in (column, row)]
