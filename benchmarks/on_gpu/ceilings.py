"""What the device reaches at best, and how many operations a network takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.on_gpu.results import Results, Row
from benchmarks.on_gpu.ways import TORCHVISION, Case, Format, Stepper, choose_products, wait_for
from sffshards.models import scale_clips

_TABLE = "Ceilings"
_PRODUCTS = {
    Format.BFLOAT16: "bfloat16",
    Format.TF32: "float32, with TF32",
    Format.FLOAT32: "float32, without TF32",
}
_REPEATS = 7
_SECONDS = 15.0
STEP_PER_FORWARD = 3
"""Operations of a training step over those of a forward pass: a gradient by inputs and one by weights.

They are not counted, because torch's counter has a formula for convolutions that is wrong for the gradient of grouped
ones.
"""


def measure_ceilings(device: torch.device, results: Results, *, side: int, copy_bytes: int) -> float:
    """Add rows for matrix products and for a copy; return the operations per second of bfloat16 products.

    Parameters
    ----------
    device
        Device to measure.
    results
        Where the rows go.
    side
        Side of the square matrices.
    copy_bytes
        Bytes to copy.
    """
    rates = {format_: _measure_product(format_, device, results, side=side) for format_ in _PRODUCTS}
    row = results.add(Row(table=_TABLE, name=f"copy on the device, {copy_bytes >> 20} MiB, bytes read and written"))

    def copy() -> None:
        source = torch.randint(0, 256, (copy_bytes,), dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        row.figures["gigabytes_per_second"] = 2 * copy_bytes / _time(lambda: target.copy_(source), device) / 1e9

    results.attempt(row, copy, seconds=_SECONDS)
    results.show([_TABLE])
    return rates[Format.BFLOAT16]


def _measure_product(format_: Format, device: torch.device, results: Results, *, side: int) -> float:
    """Add a row for a matrix product, and return its operations per second; 0 if it fails."""
    row = results.add(Row(table=_TABLE, name=f"matrix product, {_PRODUCTS[format_]}, {side} x {side}"))

    def multiply() -> None:
        choose_products(format_)
        dtype = torch.bfloat16 if format_ is Format.BFLOAT16 else torch.float32
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        row.figures["teraflops_per_second"] = 2 * side**3 / _time(lambda: a @ b, device) / 1e12

    results.attempt(row, multiply, seconds=_SECONDS)
    return 1e12 * row.figures.get("teraflops_per_second", 0.0)


def count_flops(case: Case, results: Results) -> float:
    """Add a row for the operations of torchvision's network per clip, and return those of a forward pass."""
    row = results.add(Row(table="Operations", name=f"forward pass of torchvision's {case.model}", batch=1))

    def count() -> None:
        stepper = Stepper(TORCHVISION, case)
        clips_BTHW, _ = stepper.draw(1)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            stepper.net(scale_clips(clips_BTHW))
        row.figures["flops"] = counter.get_total_flops()

    results.attempt(row, count, seconds=_SECONDS)
    results.show([row.table])
    return row.figures.get("flops", 0.0)


def _time(function: Callable[[], object], device: torch.device) -> float:
    """Return the median seconds of a function, warm."""
    seconds = []
    for _ in range(_REPEATS + 2):
        wait_for(device)
        start = time.perf_counter()
        function()
        wait_for(device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[2:])
