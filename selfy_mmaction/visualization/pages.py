"""What a SELFY block computes, written: a picture, a video or a page."""
import base64
import html
import io
import json
import string
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..apis.similarity import Position, SelfSimilarity
from ..apis.video import write_video
from ..files import replaced_when_done, write_text
from .pictures import draw, to_image

ENDINGS = ('.png', '.html', '.mp4', '.webm', '.gif')
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


def write(path: Path, seen: SelfSimilarity, positions: Sequence[Position],
          title: str) -> None:
    """Write a picture, or one per frame as a video or a web page.

    In a video or page the queries stay where they are, and look from one
    frame after the other.

    Args:
        path (Path): A file with an ending of `check_path`.
        seen (SelfSimilarity): What the block sees.
        positions (Sequence[Position]): The queries.
        title (str): The heading.
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
