"""HTML put together so that no text from data can become markup: whatever is not `Markup` is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Cell", "Markup", "element", "join", "table"]

_EMPTY = {"br", "hr", "img", "meta"}


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """A cell of a table."""

    text: str
    """Or `Markup`."""
    kind: str = ""
    """A class of the style sheet, or nothing; a column whose first cell is ``text`` lies to the left."""


def element(name: str, /, *children: str, **attributes: str) -> Markup:
    """Make an element; a trailing ``_`` of an attribute's name is dropped, and ``_`` in it becomes ``-``.

    Examples
    --------
    >>> element("p", "a < b", element("br"), class_="note")
    '<p class="note">a &lt; b<br></p>'
    """
    said = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    if name in _EMPTY:
        return Markup(f"<{name}{said}>")
    return Markup(f"<{name}{said}>{join(*children)}</{name}>")


def join(*children: str) -> Markup:
    """Put pieces one after another."""
    return Markup("".join(child if isinstance(child, Markup) else escape(child) for child in children))


def table(caption: str, header: Sequence[str], rows: Sequence[Sequence[Cell]], *, label: str) -> Markup:
    """Make a table that scrolls where it is too wide; the first cell of a row heads it.

    Parameters
    ----------
    caption
        How to read it, or `Markup`.
    header
        The columns' names.
    rows
        As many cells each.
    label
        What a screen reader calls the part that scrolls.
    """
    kinds = ["text" if rows and rows[0][column].kind == "text" else "" for column in range(len(header))]
    titles = zip(header, kinds, strict=True)
    head = element("tr", *(element("th", name, scope="col", **_class(kind)) for name, kind in titles))
    body = [element("tr", *(_cell(cell, head=position == 0) for position, cell in enumerate(row))) for row in rows]
    whole = element(
        "table", element("caption", element("span", caption)), element("thead", head), element("tbody", *body)
    )
    return element("div", whole, class_="scroll", role="region", aria_label=label, tabindex="0")


def _cell(cell: Cell, *, head: bool) -> Markup:
    if head:
        return element("th", cell.text, scope="row", **_class(cell.kind))
    return element("td", cell.text, **_class(cell.kind))


def _class(kind: str) -> dict[str, str]:
    return {"class": kind} if kind else {}
