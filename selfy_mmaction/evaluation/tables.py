"""Tables in Markdown."""
from collections.abc import Sequence


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; without rows, only its head, for rows printed later.

    Args:
        head (Sequence[str]): Names of the columns.
        rows (Sequence[Sequence[str]]): The cells of each row.
    """
    return '\n'.join(map(format_row, [head, ['---'] * len(head), *rows]))


def format_row(cells: Sequence[str]) -> str:
    """One line of a table."""
    return f'| {" | ".join(cells)} |'
