"""How figures look and are saved: SVG that takes its colours from the page, light or dark, and PNG to take along."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sffshards.report.markup import Markup, element

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ALARM", "FAINT", "GRID", "INK", "Drawing", "Style", "draw", "series_style"]

INK, FAINT, GRID, ALARM = "#1f2430", "#5d6573", "#d9dde4", "#c8402f"
_SERIES = ("#0b62a8", "#b35900", "#19764f", "#8a3f9e", "#6f6410")
_VARIABLES = {INK: "ink", FAINT: "faint", GRID: "line", ALARM: "alarm"} | {
    colour: f"series-{number}" for number, colour in enumerate(_SERIES)
}
"""The colours of the PNG files, no two alike, and the variables of the page that stand in their place in SVG."""
_DASHES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)), (0, (9, 3)))
_MARKERS = ("o", "s", "^", "D", "v")

_PNG_DPI = 150
_SETTINGS = {
    "svg.hashsalt": "sffshards",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Style:
    """What tells a series from the others: by colour, and without."""

    color: str
    linestyle: str | tuple[float, tuple[float, ...]]
    marker: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """A figure, drawn."""

    name: str
    """Of its file, without ``.png``, and of its element in the page."""
    svg: Markup
    png: bytes


def series_style(number: int) -> Style:
    """Give the style of the series of a number, from 0; after five they come again."""
    position = number % len(_SERIES)
    return Style(color=_SERIES[position], linestyle=_DASHES[position], marker=_MARKERS[position])


def draw(
    name: str, fill: Callable[[list[Axes]], None], *, title: str, size: tuple[float, float], ratios: tuple[int, ...]
) -> Drawing:
    """Draw a figure; the same content gives the same bytes.

    Parameters
    ----------
    name
        Of the figure, in letters, digits and hyphens.
    fill
        Draws into its axes, which lie one above the other; the legend is of the first, and stands above it.
    title
        What a screen reader says of it.
    size
        Width and height in inches of 72 points.
    ratios
        Heights of the axes, relative to each other.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS):  # type: ignore[arg-type]  # names of settings are literals there
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(len(ratios), 1, squeeze=False, sharex=True, gridspec_kw={"height_ratios": ratios})
        fill(list(axes[:, 0]))
        if axes[0, 0].get_legend_handles_labels()[0]:
            figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
        return Drawing(name=name, svg=_to_svg(figure, name=name, title=title), png=_to_png(figure))


def _to_png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.set_layout_engine("none")  # it lies as the SVG has it
    figure.savefig(buffer, format="png", dpi=_PNG_DPI, facecolor="#ffffff", metadata={"Software": None})
    return buffer.getvalue()


def _shorten_numbers(tag: re.Match[str]) -> str:
    """Leave two decimals of a tag's numbers: a hundredth of a pixel."""
    return re.sub(r"(\d\.\d\d)\d+", r"\1", tag[0])


def _to_svg(figure: Figure, *, name: str, title: str) -> Markup:
    """Give the figure as an element of the page: without prolog, its names its own, its colours the page's."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    body = text[text.index(">", text.index("<svg")) + 1 :]
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", body)
    body = re.sub(r"<[^>]*>", _shorten_numbers, body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    width, height = (72 * inches for inches in figure.get_size_inches())
    label = element("title", title, id=f"{name}-title")
    opening = (
        f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-labelledby="{name}-title">'
    )
    return Markup(opening + label + body)
