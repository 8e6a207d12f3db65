"""What a report shows one by one: the most confident hits, misses and false alarms as film strips, and regions."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from PIL import Image

from sffshards.base.errors import Field, InputError
from sffshards.base.progress import Progress
from sffshards.domain.frame_sequences import SequenceId
from sffshards.domain.sample_sets import Part, Stage
from sffshards.domain.task import GoesClass, Task
from sffshards.domain.views import View
from sffshards.flares import HarpFlares
from sffshards.forecasting.runs import IssuedForecast, Run, RunKind
from sffshards.report.explanation_figures import draw_explanation
from sffshards.shards.format import VIEWS
from sffshards.shards.read import Build
from sffshards.verification import THRESHOLD, part_outcomes

MAX_HARPS = 6
"""Maximum number of regions shown over time where none are named."""

_COLUMNS = 4
_FRAME_SIDE = 112
_GAP = 2
_GAP_GREY = 70
SIDE = _COLUMNS * (_FRAME_SIDE + _GAP) - _GAP
"""Width and height of a film strip in pixels: four rows of four frames."""

_BATCH_SIZE = 10
"""Number of clips per batch when forecasts are explained."""
_LEVELS = 64
"""Number of grey levels: more are not visible in a picture of this size, and they double its bytes."""


class Outcome(StrEnum):
    """Outcomes of forecasts that are shown."""

    HIT = "hit"
    MISS = "miss"
    FALSE_ALARM = "false alarm"


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionFlare:
    """A flare of a region, as it is drawn over the forecasts."""

    start: np.datetime64
    """Start time in UTC, drawn beside frame times in TAI as labels are: 34 to 37 s early."""
    goes_class: GoesClass


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A sequence of the test set that is shown."""

    outcome: Outcome
    sequence: str
    """Published name of the sequence; empty text where the forecaster does not know it."""
    harp: int
    t_end_tai: np.datetime64
    probability: float


def choose_examples(ensemble: IssuedForecast, *, per_outcome: int) -> tuple[Example, ...]:
    """Choose the most confident forecasts of each outcome, one per region, so that no single region fills the page."""
    rows = ensemble.samples
    outcomes = part_outcomes(rows.label, rows.probability, threshold=THRESHOLD)
    of_outcome = dict(zip((Outcome.HIT, Outcome.FALSE_ALARM, Outcome.MISS), outcomes, strict=False))
    examples: list[Example] = []
    for outcome in Outcome:
        candidates, sign = np.flatnonzero(of_outcome[outcome]), 1 if outcome is Outcome.MISS else -1
        ranked = candidates[np.argsort(sign * rows.probability[candidates], kind="stable")]
        _, first = np.unique(rows.harp[ranked], return_index=True)
        examples += [
            Example(
                outcome=outcome,
                sequence=rows.sequence[row],
                harp=int(rows.harp[row]),
                t_end_tai=rows.t_end_tai[row],
                probability=float(rows.probability[row]),
            )
            for row in ranked[np.sort(first)][:per_outcome].tolist()
        ]
    return tuple(examples)


def find_row(build: Build, example: Example) -> int | None:
    """Return the row of a build's index that shows an example as it is; None if the build does not have it."""
    index = build.index
    is_one = (index["harp"] == example.harp) & (index["t_end_tai"] == example.t_end_tai)
    rows = np.flatnonzero(is_one & (index["view"] == VIEWS.index(View.NF)))
    return int(rows[0]) if len(rows) else None


def draw_strip(build: Build, row: int) -> bytes:
    """Draw the sixteen frames of a sample of a build as PNG, in four rows of four.

    Raises
    ------
    DamageError
        If the sample is not as it was written.
    """
    strip = Image.new("L", (SIDE, SIDE), _GAP_GREY)
    step = 256 // _LEVELS
    levels = [min(255, (value // step) * step + step // 2) for value in range(256)]
    for slot, frame in enumerate(build.read_clip(row)):
        small = Image.fromarray(frame).resize((_FRAME_SIDE, _FRAME_SIDE), Image.Resampling.BOX).point(levels)
        row, column = divmod(slot, _COLUMNS)
        strip.paste(small, (column * (_FRAME_SIDE + _GAP), row * (_FRAME_SIDE + _GAP)))
    buffer = io.BytesIO()
    strip.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def explain_examples(
    run: Run, examples: Sequence[Example], build: Build, *, device: str, progress: Progress
) -> dict[str, bytes]:
    """Draw what the forecasts of a report's film strips depend on.

    Parameters
    ----------
    run
        The run whose forecasts are shown.
    examples
        The sequences that are shown.
    build
        The build that the run was trained on.
    device
        Name of the device to compute on.
    progress
        Receives the progress, and a note if no network made the forecasts, or one of a factory or
        one that takes numbers.

    Returns
    -------
    dict of bytes
        Pictures as PNG, by sequence; none where a note states the reason.

    Raises
    ------
    InputError, DamageError
        If a fold has no checkpoint, or its checkpoint cannot be used.
    """
    if run.kind is not RunKind.NETWORK:
        progress.note(f"{run.folder}: not explained: no network made its forecasts")
        return {}
    # These import torch, which a report without networks does not need.
    from sffshards.forecasting.explanations import ExplanationOptions, explain_sequences
    from sffshards.forecasting.operational import BuildSource, find_members
    from sffshards.forecasting.runs import Inference, choose_device

    members = find_members(run.folder, folds=[fold.number for fold in run.evaluated])
    if members[0].network.model.is_factory:
        progress.note(f"{run.folder}: not explained: only `sffshards explain --model` runs the code of a factory")
        return {}
    if members[0].network.inputs.groups:
        progress.note(f"{run.folder}: not explained: only `sffshards explain` takes the tables of numbers it needs")
        return {}
    names = [SequenceId.parse(example.sequence) for example in examples]
    source = BuildSource(build, parts=[Part.TEST], every=True).named(names)
    found = explain_sequences(
        members,
        source,
        numbers=None,
        options=ExplanationOptions(),
        inference=Inference(batch_size=_BATCH_SIZE, num_threads=0, device=choose_device(device)),
        progress=progress,
    )
    return {explanation.shown.sequence: draw_explanation(explanation) for explanation in found}


def choose_harps(ensembles: Sequence[IssuedForecast], harps: Sequence[int] | None) -> tuple[int, ...]:
    """Return the regions to show over time: those named that are in a test set of the ensembles.

    Where none are named, these are the regions of the first ensemble with most flares.
    """
    if harps is None:
        rows = ensembles[0].samples
        numbers, counts = np.unique(rows.harp[rows.label == 1], return_counts=True)
        return tuple(numbers[np.argsort(-counts, kind="stable")][:MAX_HARPS].tolist())
    there = {harp for ensemble in ensembles for harp in np.unique(ensemble.samples.harp).tolist()}
    return tuple(harp for harp in dict.fromkeys(harps) if harp in there)


def check_harps(harps: Sequence[int], runs: Sequence[Run]) -> None:
    """Check that each region that is named is in the test set of one of the runs.

    Raises
    ------
    InputError
        If one is in none.
    """
    tests = [fold.tables[Stage.TEST].harp for run in runs for fold in run.evaluated]
    there = {harp for test in tests for harp in np.unique(test).tolist()}
    for harp in harps:
        if harp not in there:
            raise InputError(
                Field("harps"),
                expected="HARP numbers of a test set",
                found=str(harp),
                fix="name others; predictions-test.csv lists them in the column harp",
            )


def find_region_flares(
    flares: HarpFlares, ensemble: IssuedForecast, harps: Sequence[int], *, task: Task
) -> dict[int, tuple[RegionFlare, ...]]:
    """Find the flares of regions, of the task's class or above, while they are forecast and a horizon after.

    Parameters
    ----------
    flares
        From `sffshards.flares.assign_flares`.
    ensemble
        Forecast of the regions; those that it does not have are left out.
    harps
        HARP numbers; one that the map of HARPs does not have gets no flares.
    task
        The task that is forecast.

    Returns
    -------
    dict of tuples
        Flares in the order of time, by HARP number.
    """
    found = {}
    for harp in harps:
        times = ensemble.samples.t_end_tai[ensemble.samples.harp == harp]
        if len(times):
            last = times.max() + np.timedelta64(task.horizon_hours, "h")
            regions = flares.harp_map.regions.get(harp, ())
            of_region = [
                RegionFlare(start=start, goes_class=flare.goes_class)
                for flare in flares.flares.flares
                if flare.noaa_region in regions and flare.goes_class >= task.threshold
                if times.min() <= (start := np.datetime64(flare.start_utc, "s")) <= last
            ]
            found[harp] = tuple(sorted(of_region, key=lambda one: one.start))
    return found
