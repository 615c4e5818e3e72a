"""Fonts that have the letters of a text."""
import functools
import logging

from matplotlib import font_manager
from mmengine.logging import print_log

# Part of Matplotlib: the same on every machine, with accents, Greek and
# Cyrillic.
DEFAULT = font_manager.findfont('DejaVu Sans')


def find_font(text: str) -> str:
    """The file of the first font that has all letters of a text.

    Where no installed font has them all, it is the one that lacks fewest; one
    line then says that there will be boxes.
    """
    # Every font has ASCII.
    letters = frozenset(x for x in text if x.isprintable() and not x.isascii())
    font, missing = _find_font(letters)
    if missing:
        _warn_of_boxes()
    return font


@functools.cache
def _find_font(letters: frozenset[str]) -> tuple[str, int]:
    """The font that lacks fewest letters, and how many."""
    missing = {}
    for path in [DEFAULT] if not letters else _fonts():
        missing[path] = _count_missing(path, letters)
        if not missing[path]:
            break
    best = min(missing, key=missing.get)
    return best, missing[best]


@functools.cache
def _fonts() -> list[str]:
    """The default, then what is installed: Matplotlib's list may be old."""
    installed = [
        path for path in font_manager.findSystemFonts()
        if 'LastResort' not in path  # its letters are boxes
    ]
    # not the thinnest or boldest of a family first
    installed.sort(key=lambda path: ('Regular' not in path, path))
    return [DEFAULT, *installed]


def _count_missing(path: str, letters: frozenset[str]) -> int:
    try:
        font = font_manager.get_font(path)
    except (OSError, RuntimeError):  # it cannot be read
        return len(letters)
    return sum(not font.get_char_index(ord(letter)) for letter in letters)


@functools.cache
def _warn_of_boxes() -> None:
    print_log(
        'No installed font has all letters of the names: some are drawn as '
        'boxes. Install one that has, such as fonts-noto-cjk of Debian and '
        'Ubuntu for Chinese, Japanese and Korean.', 'current', logging.WARNING)
