"""The picture of an explanation: frames with attributions and neutral lines, bars by frame, and hidden patches.

Shapes: T frames, H and W pixels, P patches along a side.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sffshards.domain.frames import FRAME_SIDE
from sffshards.report.figure_style import ALARM, FAINT, INK, SETTINGS, series_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap

    from sffshards.forecasting.explanations import Explanation

_COLUMNS = 4
_SIZE = (11.0, 7.9)
_DPI = 110
_AGAINST = series_style(0).color
_LINE = "#f7d117"
"""Colour of neutral lines."""

_ZERO_GREY = 128
_SMOOTHING_PX = 1.5
"""Standard deviation of the Gaussian by which frames are smoothed before neutral lines are drawn."""
_STRONG_GREY = 24
"""Difference from the grey of no field from which a smoothed field counts as strong."""
_NEAR_PX = 15
"""Width and height of the square around a pixel in which both polarities must be strong."""
_SPREAD_PX = 4.0
"""Standard deviation of the Gaussian by which attributions are smoothed to be seen."""
_BRIGHTEST = 99.7
"""Percentile of the absolute smoothed attributions that is drawn in full colour."""
_MOST_OPAQUE = 0.8


def draw_explanation(explanation: Explanation) -> bytes:
    """Draw an explanation as PNG; the same explanation gives the same bytes.

    The sixteen frames are in rows from the oldest. Red pixels increase the logit difference and blue ones decrease it,
    relative to a clip without field. Neutral lines are yellow. The bars are the sum of the attributions of each frame,
    and the decrease of the logit difference if the frame is hidden. The last panel is the decrease if a patch is hidden
    in all frames.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    with mpl.rc_context(SETTINGS):  # type: ignore[arg-type]  # names of settings are literals there
        canvas = Canvas(figsize=_SIZE, layout="constrained")
        canvas.suptitle(_describe(explanation), x=0.01, ha="left", fontsize=10)
        left, right = canvas.subfigures(1, 2, squeeze=False, width_ratios=(1.65, 1))[0]
        _fill_frames(left.subplots(_COLUMNS, _COLUMNS).ravel(), explanation)
        bars, patches = right.subplots(2, 1, height_ratios=(1, 1.35))
        _fill_bars(bars, explanation)
        _fill_patches(patches, explanation)
        buffer = io.BytesIO()
        canvas.savefig(buffer, format="png", dpi=_DPI, facecolor="#ffffff", metadata={"Software": None})
    return buffer.getvalue()


def compress_picture(png: bytes) -> bytes:
    """Return a picture as JPEG, which takes a fifth of the bytes."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(buffer, "JPEG", quality=70, optimize=True)
    return buffer.getvalue()


def find_neutral_lines(frame_HW: NDArray[np.uint8]) -> np.ma.MaskedArray[Any, np.dtype[np.float64]]:
    """Return the smoothed field of a frame in grey levels, masked except near polarity inversion lines.

    The contour of the result at 0 is the lines on which the field changes sign between strong field of both polarities,
    as in the maps of Schrijver (2007, doi:10.1086/511857).
    """
    from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter

    field_HW = gaussian_filter(frame_HW.astype(np.float64), _SMOOTHING_PX) - _ZERO_GREY
    is_positive = maximum_filter(field_HW, _NEAR_PX) > _STRONG_GREY
    is_negative = minimum_filter(field_HW, _NEAR_PX) < -_STRONG_GREY
    return np.ma.masked_array(field_HW, ~(is_positive & is_negative))


def smooth_attributions(attribution_THW: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return attributions smoothed within each frame, as fractions of the largest that are drawn in full colour."""
    from scipy.ndimage import gaussian_filter

    smooth_THW: NDArray[np.float64] = gaussian_filter(attribution_THW, (0, _SPREAD_PX, _SPREAD_PX))
    full = float(np.percentile(np.abs(smooth_THW), _BRIGHTEST)) or 1.0
    return smooth_THW / full


def _colours() -> LinearSegmentedColormap:
    """Return the colours from -1 to 1: blue to red, transparent in the middle."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgba

    corners = [(0.0, _AGAINST, _MOST_OPAQUE), (0.45, _AGAINST, 0.0), (0.55, ALARM, 0.0), (1.0, ALARM, _MOST_OPAQUE)]
    return LinearSegmentedColormap.from_list("", [(at, to_rgba(colour, alpha)) for at, colour, alpha in corners])


def _describe(explanation: Explanation) -> str:
    shown, of = explanation.shown, explanation.members
    gaps = [one.gradients.relative_gap for one in of]
    largest = "undefined" if np.isnan(gaps).any() else f"{max(gaps):.2%}"
    members = of[0].member.name if len(of) == 1 else f"mean of {len(of)} members"
    return (
        f"HARP {shown.harp}, {shown.t_end_tai:%Y-%m-%d %H:%M} TAI: probability {explanation.probability:.3f} of "
        f"{explanation.task.event}\n"
        f"{members}; logit difference {explanation.logit:.2f}, without field {explanation.baseline_logit:.2f}; "
        f"completeness gap {largest} with {explanation.options.num_steps} steps\n"
        "red increases and blue decreases the logit difference; neutral lines are yellow"
    )


def _fill_frames(panels: Sequence[Axes], explanation: Explanation) -> None:
    smooth_THW = smooth_attributions(explanation.attribution)
    for slot, (ax, caption) in enumerate(zip(panels, _caption_frames(explanation.t_rec_tai), strict=True)):
        draw_frame(ax, explanation.clip_THW[slot], smooth_THW[slot])
        ax.set_title(caption, fontsize=7, color=FAINT, pad=2)


def draw_frame(ax: Axes, frame_HW: NDArray[np.uint8], smooth_HW: NDArray[np.float64]) -> None:
    """Draw a frame with its attributions and neutral lines."""
    ax.imshow(frame_HW, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    ax.imshow(smooth_HW, cmap=_colours(), vmin=-1, vmax=1, interpolation="nearest")
    lines = find_neutral_lines(frame_HW)
    if lines.count() and lines.min() < 0 < lines.max():
        ax.contour(lines, levels=[0], colors=_LINE, linewidths=0.7)
    ax.set_axis_off()


def _caption_frames(times: Sequence[datetime]) -> list[str]:
    """Return the time of each frame, with its day where that is new; repeated frames are marked."""
    captions = []
    for slot, time in enumerate(times):
        before = times[slot - 1] if slot else None
        is_same_day = before is not None and before.date() == time.date()
        text = f"{time:%H:%M}" if is_same_day else f"{time:%Y-%m-%d %H:%M}"
        captions.append(f"{slot + 1}: {text}" if time != before else f"{slot + 1}: the same frame")
    return captions


def _fill_bars(ax: Axes, explanation: Explanation) -> None:
    slots = np.arange(1, len(explanation.t_rec_tai) + 1)
    ax.bar(slots - 0.2, explanation.frame_sums, 0.4, color=INK, label="sum of attributions")
    ax.bar(slots + 0.2, explanation.frame_drops, 0.4, color=series_style(1).color, label="decrease if hidden")
    ax.axhline(0, color=FAINT, linewidth=0.8)
    ax.set(xlabel="frame", ylabel="logit difference", xticks=slots[::3])
    ax.grid(visible=False, axis="x")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)


def _fill_patches(ax: Axes, explanation: Explanation) -> None:
    drops_PP = explanation.patch_drops
    largest = float(np.abs(drops_PP).max()) or 1.0
    ax.imshow(explanation.clip_THW[-1], cmap="gray", vmin=0, vmax=255, extent=_EXTENT)
    shown = ax.imshow(drops_PP, cmap=_colours(), vmin=-largest, vmax=largest, extent=_EXTENT, interpolation="nearest")
    side = explanation.options.patch_side
    ax.set_title(f"decrease of the logit difference if hidden:\npatches of {side} pixels in all frames", color=INK)
    ax.set_axis_off()
    ax.figure.colorbar(shown, ax=ax, shrink=0.8)


_EXTENT = (0, FRAME_SIDE, FRAME_SIDE, 0)
"""Left, right, lower and upper end of a frame."""
