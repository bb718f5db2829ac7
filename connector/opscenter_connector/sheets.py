"""Tables on standard output, as wide as the terminal; in a pipe, as wide as they need."""

import sys

from rich import box
from rich.console import Console
from rich.table import Table

PIPE_WIDTH = 200  # a pipe has no edge; `less -S` and `grep` want rows on one line


def stdout() -> Console:
    """Standard output. What comes from elsewhere goes in as Text, never as markup."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(highlight=False, markup=False, emoji=False, width=width)


def sheet(*columns: str) -> Table:
    """A table with a line under its header and no frame."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
