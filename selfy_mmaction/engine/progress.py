"""Progress of what takes long: a bar on a terminal, lines elsewhere."""
import sys
from collections.abc import Iterable, Iterator

from mmengine.utils import track_iter_progress


def track(items: Iterable, total: int) -> Iterator:
    """Yield items, and tell the progress on standard error.

    In a file the characters that redraw a bar would make one long line: there
    it is a line for every tenth.

    Args:
        items (Iterable): The items.
        total (int): Their number.
    """
    if sys.stderr.isatty():
        yield from track_iter_progress((items, total), file=sys.stderr)
        return
    for done, item in enumerate(items, 1):
        yield item
        if 10 * done // total > 10 * (done - 1) // total:
            print(f'{done}/{total}', file=sys.stderr, flush=True)
