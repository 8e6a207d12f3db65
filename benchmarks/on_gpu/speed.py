"""Speed and memory of several ways that take turns, and the largest batch of one way."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import torch

from benchmarks.on_gpu.results import BEGUN, Results, Row
from benchmarks.on_gpu.ways import Case, Format, Stepper, Way

_SHARE_TO_PREPARE = 0.85
"""Part of the seconds of a comparison that building and compiling may take."""


class Comparison:
    """Ways to compute the same steps, measured in turns.

    Parameters
    ----------
    case
        What they compute.
    ways
        The ways; ratios are to the first.
    results
        Where rows go.
    title
        Title of the table.
    flops
        Operations per clip of a step.
    peak
        Operations per second of the card's bfloat16 products; 0 if unknown.
    """

    def __init__(
        self, case: Case, ways: Sequence[Way], results: Results, *, title: str, flops: float, peak: float
    ) -> None:
        self.case, self.results, self.title = case, results, title
        self.flops, self.peak = flops, peak
        self.rows = {way: results.add(Row(table=title, name=str(way), batch=case.batch)) for way in ways}
        self.steppers: dict[Way, Stepper] = {}
        self._seconds: dict[Way, list[float]] = {way: [] for way in ways}

    def run(self, *, rounds: int, seconds: float) -> None:
        """Prepare the ways in their order, then let them take turns, all within some seconds."""
        start = time.monotonic()
        for way in self.rows:
            self._prepare(way, seconds=start + _SHARE_TO_PREPARE * seconds - time.monotonic())
        self._take_turns(rounds, end=min(start + seconds, time.monotonic() + self.results.budget.left_s))
        for way in self.rows:
            self._fill(way)
        self.results.save()
        self.results.show([self.title])

    def find_fastest(self) -> Stepper | None:
        """Return the stepper with the shortest median step, or None if all failed."""
        measured = [way for way in self.steppers if self._seconds[way]]
        best = min(measured, key=lambda way: statistics.median(self._seconds[way]), default=None)
        return self.steppers[best] if best is not None else None

    def _prepare(self, way: Way, *, seconds: float) -> None:
        """Build a network, take the steps that compile and allocate, and measure the peak of another."""
        row = self.rows[way]

        def prepare() -> None:
            free_memory()
            before = reset_peak(self.case.device)
            start = time.perf_counter()
            stepper = Stepper(way, self.case)
            clips_and_labels = stepper.draw(self.case.batch)
            stepper.step(*clips_and_labels)
            row.figures["first_step_s"] = time.perf_counter() - start
            if way.in_graphs:
                stepper.step(*clips_and_labels)  # which is recorded
            reset_peak(self.case.device)
            stepper.step(*clips_and_labels)
            row.figures["peak_bytes"] = read_peak(self.case.device, way) - before
            self.steppers[way] = stepper

        self.results.attempt(row, prepare, seconds=seconds)

    def _take_turns(self, rounds: int, *, end: float) -> None:
        """Let the ways take turns for some rounds, or for as many as there is time for, but for one at least."""
        taken = 0.0
        for number in range(rounds):
            start = time.monotonic()
            if number and end - start < 2 * taken:
                return
            for way in list(self.steppers):
                self._take_turn(way, seconds=end - time.monotonic())
            taken = time.monotonic() - start

    def _take_turn(self, way: Way, *, seconds: float) -> None:
        stepper = self.steppers[way]

        def step() -> None:
            self._seconds[way].append(stepper.step(*stepper.draw(self.case.batch)))

        if not self.results.attempt(self.rows[way], step, seconds=seconds):
            del self.steppers[way]

    def _fill(self, way: Way) -> None:
        """Compute a row's figures from the seconds of its steps."""
        figures, seconds = self.rows[way].figures, self._seconds[way]
        if not seconds:
            return
        rate = figures["clips_per_second"] = self.case.batch / statistics.median(seconds)
        first = self._seconds[next(iter(self.rows))]
        if first:
            figures["ratio"] = statistics.median(a / b for a, b in zip(first, seconds, strict=False))
        figures["teraflops_per_second"] = rate * self.flops / 1e12
        if self.peak and self.case.format is Format.BFLOAT16:
            figures["share_of_peak"] = rate * self.flops / self.peak


def measure_largest_batch(case: Case, way: Way, results: Results, *, limit: int, seconds: float) -> None:
    """Add a row with the largest batch that fits in memory."""
    table = f"Largest batch, {'training' if case.trains else 'inference'}"
    row = results.add(Row(table=table, name=f"{way}, {case.format}"))

    def search() -> None:
        free_memory()
        stepper = Stepper(way, case)

        def fits(batch: int) -> bool:
            if does_fit := _fits(stepper, batch):
                row.figures["largest_batch"] = batch
            return does_fit

        found = find_largest(fits, first=case.batch, limit=limit)
        row.status = {0: "failed: no batch fits", limit: f"the search ended at {limit}"}.get(found, BEGUN)

    results.attempt(row, search, seconds=seconds)


def find_largest(fits: Callable[[int], bool], *, first: int, limit: int) -> int:
    """Return the largest number that fits, to within a sixteenth, by doubling and then bisection.

    Parameters
    ----------
    fits
        Function that returns whether a number fits.
    first
        Number to begin with.
    limit
        Number at which the search ends.
    """
    good, bad = 0, limit + 1
    batch = min(first, limit)
    while bad - good > max(1, good // 16):
        if fits(batch):
            good = batch
        else:
            bad = batch
        batch = min(2 * good, limit) if bad > limit and good < limit else (good + bad) // 2
    return good


def _fits(stepper: Stepper, batch: int) -> bool:
    does_fit = True
    try:
        stepper.step(*stepper.draw(batch))
    except torch.OutOfMemoryError:
        does_fit = False
    stepper.optimizer.zero_grad()
    free_memory()
    return does_fit


def free_memory() -> None:
    """Return memory that nothing uses any more to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def reset_peak(device: torch.device) -> int:
    """Forget earlier peaks of memory, and return the bytes in use; on a CPU, 0."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return 0


def read_peak(device: torch.device, way: Way) -> int:
    """Return the peak of memory in bytes: on a CPU, that of the whole process.

    What CUDA graphs use is not counted as allocated while they are replayed, so theirs is what is reserved.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved() if way.in_graphs else torch.cuda.max_memory_allocated()
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
