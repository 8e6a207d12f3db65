"""How figures look and are saved: inline SVG in the colours of the page, light or dark, and SVG, PDF and PNG files."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

INK, FAINT, GRID, ALARM = "#1f2430", "#5d6573", "#d9dde4", "#c8402f"
_SERIES = ("#0b62a8", "#b35900", "#19764f", "#8a3f9e", "#6f6410", "#b02a63", "#0a7480", "#7d4b32")
_VARIABLES = {INK: "ink", FAINT: "faint", GRID: "line", ALARM: "alarm"} | {
    colour: f"series-{number}" for number, colour in enumerate(_SERIES)
}
"""The colours of the files, all different, and the variables of the page that replace them in its inline SVG."""
_DASHES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)), (0, (9, 3)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
_PLAIN_MARKERS = ("x", "+", "*", "1")

_PNG_DPI = 150
_LEGEND_WIDTH = 66
"""Number of characters that two columns of a legend hold together."""
_USUAL_ROWS = 3
"""Number of rows of a legend that the size of a figure allows for."""
_ROW_INCHES = 0.17
SETTINGS = {
    "svg.hashsalt": "sffshards",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
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
    """The style of a series, which can be recognised without its colour too."""

    color: str
    linestyle: str | tuple[float, tuple[float, ...]]
    marker: str

    @property
    def line(self) -> dict[str, Any]:
        """Options of a line for matplotlib."""
        return {"color": self.color, "linestyle": self.linestyle}


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A figure of the report; its caption is in ``templates/figures.html.j2``."""

    name: str
    """Name of its files without the suffix, and of its element in the page."""
    kind: str
    """Kind of figure, which chooses the caption."""
    heading: str
    svg: str
    """SVG element for the page."""
    files: dict[str, bytes]
    """The figure as a file, by suffix."""
    facts: tuple[str, ...] = ()
    """Facts that the caption states, in the order in which it does."""


def series_style(number: int) -> Style:
    """Return the style of a series by its number, from 0; the eight colours repeat with other lines and markers."""
    color, turn = number % len(_SERIES), number // len(_SERIES)
    return Style(
        color=_SERIES[color],
        linestyle=_DASHES[(number + turn) % len(_DASHES)],
        marker=_MARKERS[(color + turn) % len(_MARKERS)],
    )


def run_styles(are_baselines: Sequence[bool]) -> list[Style]:
    """Return the styles of runs: grey for baselines, and a colour for each of the others."""
    numbers = [are_baselines[:place].count(is_one) for place, is_one in enumerate(are_baselines)]
    return [
        Style(
            color=FAINT, linestyle=_DASHES[number % len(_DASHES)], marker=_PLAIN_MARKERS[number % len(_PLAIN_MARKERS)]
        )
        if is_one
        else series_style(number)
        for number, is_one in zip(numbers, are_baselines, strict=True)
    ]


def draw(
    name: str,
    fill: Callable[..., None],
    *,
    kind: str,
    heading: str,
    size: tuple[float, float],
    ratios: tuple[int, ...] = (1,),
    facts: tuple[str, ...] = (),
) -> Figure:
    """Draw a figure; the same content gives the same bytes.

    Parameters
    ----------
    name
        Name of the figure, in letters, digits, dots, underscores and hyphens.
    fill
        Function of the axes, which are stacked, that draws into them; the legend is that of the first, above it.
    kind, heading, facts
        As in `Figure`; a screen reader reads the heading.
    size
        Width and height in inches of 72 points.
    ratios
        Heights of the axes, relative to each other.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    with mpl.rc_context(SETTINGS):  # type: ignore[arg-type]  # names of settings are literals there
        canvas = Canvas(figsize=size, layout="constrained")
        axes = canvas.subplots(len(ratios), 1, squeeze=False, sharex=True, gridspec_kw={"height_ratios": ratios})
        fill(*axes[:, 0])
        _add_legend(canvas, *axes[0, 0].get_legend_handles_labels())
        svg = _save(canvas, "svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        canvas.set_layout_engine("none")  # the other files have the layout of the SVG
        return Figure(
            name=name,
            kind=kind,
            heading=heading,
            svg=_inline(svg.decode(), name=name, title=heading),
            files={"svg": svg, **_print(canvas)},
            facts=facts,
        )


def _add_legend(canvas: Canvas, handles: list[Any], labels: list[str]) -> None:
    """Add the legend above the axes, in as many columns as fit; a figure grows by the rows that exceed the usual."""
    if handles:
        num_columns = 2 if 2 * max(map(len, labels)) <= _LEGEND_WIDTH else 1
        num_rows = -(-len(labels) // num_columns)
        canvas.set_figheight(canvas.get_figheight() + _ROW_INCHES * max(0, num_rows - _USUAL_ROWS))
        canvas.legend(handles, labels, loc="outside upper left", ncols=num_columns)


def _print(canvas: Canvas) -> dict[str, bytes]:
    """Return a figure for papers and slides, on white."""
    return {
        "pdf": _save(canvas, "pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None}),
        "png": _save(canvas, "png", dpi=_PNG_DPI, facecolor="#ffffff", metadata={"Software": None}),
    }


def _save(canvas: Canvas, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    canvas.savefig(buffer, format=file_format, **options)
    return buffer.getvalue()


def _inline(svg: str, *, name: str, title: str) -> str:
    """Return an SVG file as an element of the page: no prolog, ids that are unique in the page, the page's colours."""
    opening, body = svg[svg.index("<svg") :].split(">", 1)
    view_box = re.findall(r'viewBox="[^"]*"', opening)[0]
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", body)
    # A hundredth of a pixel is enough.
    body = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d\.\d\d)\d+", r"\1", tag[0]), body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    return (
        f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" {view_box} role="img" aria-labelledby="{name}-title">'
        f'<title id="{name}-title">{escape(title)}</title>{body}'
    )
