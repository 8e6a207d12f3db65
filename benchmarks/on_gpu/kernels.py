"""The kernels on which a step spends its time, by torch's profiler."""

from __future__ import annotations

from typing import Any

from torch.profiler import ProfilerActivity, profile

from benchmarks.on_gpu.results import MEASURED, Results, Row
from benchmarks.on_gpu.ways import Stepper

_NUM_STEPS = 3
_NUM_KERNELS = 10
_NOT_KERNELS = ("Optimizer.", "ProfilerStep", "Torch-Compiled Region")
"""Ranges that torch marks in a profile: a whole step of the optimiser, or a compiled call."""


def profile_step(stepper: Stepper, results: Results, *, seconds: float) -> None:
    """Add rows for the ten kernels with the most time on the device, and one for all together.

    Parameters
    ----------
    stepper
        What to profile. On a CPU, operators stand for kernels.
    results
        Where the rows go.
    seconds
        Limit on the time.
    """
    case = stepper.case
    table = f"Profile of a training step, {stepper.way}, {case.format}"
    total = results.add(Row(table=table, name="all kernels, over the time of a step", batch=case.batch))

    def measure() -> None:
        clips_and_labels = stepper.draw(case.batch)
        wall_ms = 1e3 * stepper.step(*clips_and_labels)
        on_gpu = case.device.type == "cuda"
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
        with profile(activities=activities) as profiler:
            for _ in range(_NUM_STEPS):
                stepper.step(*clips_and_labels)
        times = _list_times(profiler, on_gpu=on_gpu)
        all_ms = sum(ms for _, ms, _ in times)
        calls = sum(calls for *_, calls in times)
        total.figures |= {"ms": all_ms, "share": all_ms / wall_ms, "calls": calls}
        for name, ms, calls in times[:_NUM_KERNELS]:
            figures = {"ms": ms, "share": ms / all_ms, "calls": calls}
            results.add(Row(table=table, name=name, batch=case.batch, figures=figures, status=MEASURED))

    results.attempt(total, measure, seconds=seconds)
    results.show([table])


def _list_times(profiler: profile, *, on_gpu: bool) -> list[tuple[str, float, float]]:
    """Return name, milliseconds per step and calls per step of each kernel, longest first."""
    wanted = "CUDA" if on_gpu else "CPU"
    events: list[Any] = [
        event
        for event in profiler.key_averages()
        if event.device_type.name == wanted and not event.is_user_annotation and not event.key.startswith(_NOT_KERNELS)
    ]
    times = [
        (
            event.key,
            (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e3 / _NUM_STEPS,
            event.count / _NUM_STEPS,
        )
        for event in events
    ]
    return sorted(times, key=lambda time: -time[1])
