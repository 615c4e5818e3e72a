"""The frames of a clip on one picture, to choose a place of them."""
import math

import numpy as np
from PIL import Image, ImageDraw

from selfy_mmaction.apis.similarity import Position, SelfSimilarity

# Narrower frames are enlarged to this, and the gap between them, in pixels.
_WIDTH = 256
_GAP = 8


class Sheet:
    """The frames that a block sees, in a grid as wide as it is high.

    Args:
        seen (SelfSimilarity): What it sees.
    """

    def __init__(self, seen: SelfSimilarity) -> None:
        self._seen = seen
        T, H, W, _ = seen.frames.shape
        self._columns = math.ceil(math.sqrt(T))
        self._scale = max(1, _WIDTH / W)
        # of a frame, with the gap after it, (horizontal, vertical)
        self._pitch = [round(self._scale * side) + _GAP for side in (W, H)]

    def draw(self, query: Position) -> np.ndarray:
        """Draw the frames, and a square around a position.

        Returns:
            np.ndarray: RGB of type uint8, [H, W, 3].
        """
        width, height = self._pitch
        rows = math.ceil(len(self._seen.frames) / self._columns)
        sheet = Image.new('RGB',
                          (self._columns * width - _GAP, rows * height - _GAP),
                          'white')
        for t, frame in enumerate(self._seen.frames):
            picture = Image.fromarray(frame).resize(
                (width - _GAP, height - _GAP), Image.Resampling.BICUBIC)
            if t == query[0]:
                self._mark(picture, query)
            sheet.paste(picture, self._corner(t))
        return np.array(sheet)

    def position_at(self, x: float, y: float) -> Position:
        """The position that is nearest to a pixel of the drawn sheet."""
        column, row = (int(at // side)
                       for at, side in zip((x, y), self._pitch, strict=True))
        t = min(row * self._columns + column, len(self._seen.frames) - 1)
        left, top = self._corner(t)
        cell = self._scale * self._seen.stride
        return t, *(min(max(round(
            at / cell), 0), count - 1) for at, count in zip(
                (y - top, x - left), self._seen.energy.shape[1:], strict=True))

    def _corner(self, t: int) -> tuple[int, int]:
        """The left and the top of a frame."""
        row, column = divmod(t, self._columns)
        width, height = self._pitch
        return column * width, row * height

    def _mark(self, picture: Image.Image, query: Position) -> None:
        cell = self._scale * self._seen.stride
        _, row, column = query
        box = [(i + side) * cell for side in (-0.5, 0.5)
               for i in (column, row)]
        draw = ImageDraw.Draw(picture)
        # legible on any ground
        draw.rectangle(box, outline='black', width=5)
        draw.rectangle(
            [side + d for side, d in zip(box, (1, 1, -1, -1), strict=True)],
            outline='white',
            width=3)
