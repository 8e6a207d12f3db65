"""A table of the report as plain cells, which templates lay out, and as Markdown and LaTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

NONE = "\u2013"
"""The text of a cell for which there is no value."""

_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after a line's end, LaTeX takes a bracket for an option
    "]": "{]}",
    "\u00b1": r"$\pm$",
    NONE: "--",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """A cell of a table; all of it is text and never markup."""

    text: str
    detail: str = ""
    """A second, smaller line, such as an interval."""
    more: str = ""
    """A third line, such as the threshold of a score."""
    kind: str = ""
    """Class of the style sheet; columns whose first cell is ``text`` are aligned to the left."""


Row = Mapping[str, Cell | str | int]
"""The cells of a row by the headings of their columns."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table of the report; the first cell of each row is its heading."""

    name: str
    """Name of its files, without the task and the suffix."""
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    """One cell per column."""
    notes: tuple[str, ...] = ()
    """Sentences below the table: what is undefined or not estimable, and why."""


def build_table(
    name: str, title: str, rows: Sequence[Row], *, kinds: Mapping[str, str] | None = None, notes: Iterable[str] = ()
) -> Table:
    """Return a table of rows by heading.

    Parameters
    ----------
    name, title, notes
        As in `Table`.
    rows
        At least one row; all have the same headings. Numbers are shown with commas.
    kinds
        Kinds of the cells of a column, by heading, where they are not cells already.
    """
    cells = [
        tuple(
            cell if isinstance(cell, Cell) else Cell(text=_format(cell), kind=(kinds or {}).get(heading, ""))
            for heading, cell in row.items()
        )
        for row in rows
    ]
    return Table(name=name, title=title, header=tuple(rows[0]), rows=tuple(cells), notes=tuple(notes))


def format_markdown(table: Table) -> str:
    r"""Return a table in Markdown, as GitHub and pandoc read it.

    Examples
    --------
    >>> row = (Cell(text="a|b"), Cell(text="0.5", detail="[0.4, 0.6]"))
    >>> print(format_markdown(Table(name="t", title="Scores", header=("run", "TSS"), rows=(row,))), end="")
    **Scores**
    <BLANKLINE>
    | run | TSS |
    | --- | --- |
    | a\|b | 0.5 \[0.4, 0.6\] |
    """
    lines = [table.header, ["---"] * len(table.header), *([_join(cell) for cell in row] for row in table.rows)]
    rows = [f"| {' | '.join(line if line == '---' else _escape_markdown(line) for line in cells)} |" for cells in lines]
    notes = [f"- {_escape_markdown(note)}" for note in table.notes]
    return "\n".join([f"**{_escape_markdown(table.title)}**", "", *rows, *([""] if notes else []), *notes]) + "\n"


def format_text(table: Table) -> str:
    r"""Return a table as aligned text, for a terminal.

    Examples
    --------
    >>> row = (Cell(text="TSS"), Cell(text="0.5", detail="[0.4, 0.6]"))
    >>> print(format_text(Table(name="t", title="Scores", header=("score", "at 0.5"), rows=(row,))), end="")
    Scores
      score          at 0.5
      TSS    0.5 [0.4, 0.6]
    """
    lines = [table.header, *([_join(cell) for cell in row] for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = [[f"{cell:{'>' if place else '<'}{widths[place]}}" for place, cell in enumerate(line)] for line in lines]
    texts = ["  " + "  ".join(cells).rstrip() for cells in aligned]
    return "\n".join([table.title, *texts, *(f"  {note}" for note in table.notes)]) + "\n"


def format_latex(table: Table) -> str:
    r"""Return a table in LaTeX, for a document that loads the package ``booktabs``.

    Examples
    --------
    >>> row = (Cell(text="oTV_Test"), Cell(text="0.5"))
    >>> print(format_latex(Table(name="t", title="Scores", header=("run", "TSS"), rows=(row,))), end="")
    % needs \usepackage{booktabs}
    \begin{table}
      \caption{Scores}
      \begin{tabular}{lr}
        \toprule
        run & TSS \\
        \midrule
        oTV\_Test & 0.5 \\
        \bottomrule
      \end{tabular}
    \end{table}
    """
    kinds = [cell.kind for cell in table.rows[0]] if table.rows else [""] * len(table.header)
    columns = "".join("l" if not number or kind in {"text", "code"} else "r" for number, kind in enumerate(kinds))
    body = [_latex_row(map(_join, row)) for row in table.rows]
    lines = [r"\toprule", _latex_row(table.header), r"\midrule", *body, r"\bottomrule"]
    start = ["% needs \\usepackage{booktabs}", r"\begin{table}", f"  \\caption{{{_escape_latex(table.title)}}}"]
    notes = [rf"  \par\small {_escape_latex(note)}" for note in table.notes]
    inner = [f"  \\begin{{tabular}}{{{columns}}}", *(f"    {line}" for line in lines), r"  \end{tabular}"]
    return "\n".join([*start, *inner, *notes, r"\end{table}"]) + "\n"


def _format(value: str | int) -> str:
    return value if isinstance(value, str) else f"{value:,}"


def _join(cell: Cell) -> str:
    return " ".join(part for part in (cell.text, cell.detail, cell.more) if part)


def _latex_row(texts: Iterable[str]) -> str:
    return " & ".join(map(_escape_latex, texts)) + r" \\"


def _escape_markdown(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>&|#~])", r"\\\1", " ".join(text.split()))


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))
