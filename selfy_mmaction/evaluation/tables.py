"""Tables in Markdown and in columns of text."""
from collections.abc import Sequence

import numpy as np


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; without rows, its head, for rows printed later.

    Args:
        head (Sequence[str]): Names of the columns.
        rows (Sequence[Sequence[str]]): The cells of each row.
    """
    return '\n'.join(map(format_row, [head, ['---'] * len(head), *rows]))


def format_row(cells: Sequence[str]) -> str:
    """One line of such a table."""
    return f'| {" | ".join(cells)} |'


def format_mean(values: np.ndarray) -> str:
    """Mean and, for several values [N], their standard deviation."""
    spread = f' ± {values.std(ddof=1):.1f}' if len(values) > 1 else ''
    return f'{values.mean():.1f}{spread}'


def format_columns(rows: Sequence[Sequence[str]], width: int) -> str:
    """Columns of text: the first as wide as needed, the others right-aligned.

    Args:
        rows (Sequence[Sequence[str]]): The cells of each row.
        width (int): Of all columns but the first.
    """
    first = max(len(name) for name, *_ in rows)
    return '\n'.join(f'{name:<{first}}' + ''.join(f'{cell:>{width}}'
                                                  for cell in cells)
                     for name, *cells in rows)
