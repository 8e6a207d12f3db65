"""What is measured, in the order of its worth, on a GPU or as a rehearsal on a CPU."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch._dynamo import config as dynamo_config

from benchmarks.on_gpu.ceilings import STEP_PER_FORWARD, count_flops, measure_ceilings
from benchmarks.on_gpu.data_wait import Data, measure_waits
from benchmarks.on_gpu.kernels import profile_step
from benchmarks.on_gpu.results import Results, Row
from benchmarks.on_gpu.speed import Comparison, measure_largest_batch
from benchmarks.on_gpu.time_budget import Budget
from benchmarks.on_gpu.ways import FUSED, FUSED_COMPILED, TORCHVISION, TORCHVISION_COMPILED, Case, Format, Stepper, Way
from sffshards.models import ModelName

BASIC = (TORCHVISION, FUSED, TORCHVISION_COMPILED, FUSED_COMPILED)
OPTIONS = (
    *(TORCHVISION, FUSED),
    Way(fused_adam=True),
    Way(channels_last=True),
    Way(cudnn_benchmark=True),
    Way(channels_last=True, cudnn_benchmark=True, fused_adam=True),
)
CHECKPOINTED = Way(checkpointing=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How much is measured."""

    model: ModelName
    format: Format
    """Number format of the jobs that take only one."""
    batch: int
    larger_batch: int
    inference_batch: int
    largest_batch: int
    """Batch at which the search for the largest ends."""
    rounds: int
    """Turns of each way."""
    matrix_side: int
    copy_bytes: int
    num_harps: int
    frames_per_harp: int
    data_steps: int


SIZES = {
    "full": Size(
        model=ModelName.MVIT_V2_S,
        format=Format.BFLOAT16,
        batch=10,
        larger_batch=32,
        inference_batch=32,
        largest_batch=4096,
        rounds=15,
        matrix_side=8192,
        copy_bytes=1 << 30,
        num_harps=3,
        frames_per_harp=40,
        data_steps=30,
    ),
    "small": Size(
        model=ModelName.MVIT_TINY,
        format=Format.FLOAT32,  # many processors take several times as long for bfloat16
        batch=1,
        larger_batch=2,
        inference_batch=1,
        largest_batch=2,
        rounds=2,
        matrix_side=256,
        copy_bytes=1 << 22,
        num_harps=2,
        frames_per_harp=4,
        data_steps=3,
    ),
}


class Bench:
    """The jobs that ``benchmarks/gpu.py`` describes, and what later ones take from earlier ones.

    Parameters
    ----------
    size
        How much to measure.
    device
        Device to measure.
    results
        Where rows go.
    missing
        Packages that reading shards needs and that are not installed.
    """

    def __init__(self, size: Size, device: torch.device, results: Results, *, missing: Sequence[str]) -> None:
        self.size, self.device, self.results, self.missing = size, device, results, missing
        self.on_gpu = device.type == "cuda"
        self.num_cores = len(os.sched_getaffinity(0))
        self.peak = measure_ceilings(device, results, side=size.matrix_side, copy_bytes=size.copy_bytes)
        self.flops = count_flops(self.case(trains=False), results)
        self._trained: Comparison | None = None

    def case(self, number_format: Format | None = None, *, batch: int | None = None, trains: bool = True) -> Case:
        return Case(
            model=self.size.model,
            device=self.device,
            format=number_format or self.size.format,
            batch=batch or self.size.batch,
            trains=trains,
            # A CPU would compile kernels for minutes; tracing alone shows whether a network can be compiled.
            compile_backend="inductor" if self.on_gpu else "eager",
        )

    def compare(self, case: Case, ways: Sequence[Way], *, seconds: float, prefix: str = "") -> Comparison:
        if self.results.budget.left_s > 0:
            torch.compiler.reset()
        flops = self.flops * (STEP_PER_FORWARD if case.trains else 1)
        comparison = Comparison(case, ways, self.results, title=f"{prefix}{case}", flops=flops, peak=self.peak)
        comparison.run(rounds=self.size.rounds, seconds=seconds * self.results.budget.patience)
        return comparison

    def train(self) -> None:
        self._trained = self.compare(self.case(), BASIC, seconds=220)

    def data(self) -> None:
        row = Row(table="Data", name="synthetic images")
        if self.missing:
            self._skip(row, f"needs {', '.join(self.missing)}")
        elif (fastest := self._train_for_others().find_fastest()) is None:
            self._skip(row, "no way of training was measured")
        else:
            with tempfile.TemporaryDirectory() as folder:
                self._wait_for_data(fastest, self.results.add(row), Path(folder))

    def profile(self) -> None:
        trained = self._train_for_others()
        for stepper in dict.fromkeys([trained.steppers.get(FUSED), trained.find_fastest()]):
            if stepper is not None:
                profile_step(stepper, self.results, seconds=30)

    def options(self) -> None:
        self._trained = None
        self.compare(self.case(), OPTIONS, seconds=60, prefix="Options: ")

    def batch(self) -> None:
        self._trained = None
        ways = (TORCHVISION, FUSED, CHECKPOINTED)
        self.compare(self.case(batch=self.size.larger_batch), ways, seconds=40)

    def memory(self) -> None:
        self._trained = None
        for way in (TORCHVISION, FUSED, CHECKPOINTED):
            self._find_largest(self.case(), way)
        for way in (TORCHVISION, FUSED):
            self._find_largest(self.case(trains=False), way)
        self.results.show(dict.fromkeys(row.table for row in self.results.rows if row.table.startswith("Largest")))

    def inference(self) -> None:
        batch = self.size.inference_batch
        for number_format, ways in ((Format.BFLOAT16, BASIC), (Format.FLOAT32, BASIC[:2])):
            self.compare(self.case(number_format, batch=batch, trains=False), ways, seconds=90)

    def formats(self) -> None:
        for number_format in (Format.TF32, Format.FLOAT32, Format.BFLOAT16):
            if number_format is not self.size.format:
                ways = BASIC[:2] if number_format is Format.TF32 else BASIC
                self.compare(self.case(number_format), ways, seconds=180)

    def graphs(self) -> None:
        self._try_mode("reduce-overhead", seconds=150)

    def autotune(self) -> None:
        self._try_mode("max-autotune-no-cudagraphs", seconds=300)

    def _try_mode(self, mode: str, *, seconds: float) -> None:
        case, way = self.case(), Way(compile_mode=mode)
        if self.on_gpu:
            self.compare(case, (TORCHVISION, way), seconds=seconds, prefix=f"Mode {mode}: ")
        else:
            self._skip(Row(table=f"Mode {mode}: {case}", name=str(way)), "needs a GPU")

    def _find_largest(self, case: Case, way: Way) -> None:
        measure_largest_batch(case, way, self.results, limit=self.size.largest_batch, seconds=25)

    def _train_for_others(self) -> Comparison:
        """Return what `train` measured, or where it was left out, the same for the default way alone."""
        if self._trained is None:
            self._trained = self.compare(self.case(), (FUSED,), seconds=30, prefix="Default: ")
        return self._trained

    def _wait_for_data(self, stepper: Stepper, row: Row, folder: Path) -> None:
        data = Data(folder, num_workers=self.num_cores if self.on_gpu else 0)
        numbers = {"num_harps": self.size.num_harps, "frames_per_harp": self.size.frames_per_harp}

        def draw() -> None:
            start = time.perf_counter()
            data.draw(**numbers)
            row.figures["seconds"] = time.perf_counter() - start

        if self.results.attempt(row, draw, seconds=60):
            measure_waits(stepper, data, self.results, num_steps=self.size.data_steps, num_cores=self.num_cores)

    def _skip(self, row: Row, why: str) -> None:
        row.status = f"skipped: {why}"
        self.results.add(row)
        print(f"\n{row.table}, {row.name}: {row.status}", flush=True)


def run_jobs(jobs: Sequence[str], options: Namespace, *, started: float, missing: Sequence[str]) -> None:
    """Run jobs, each a method of `Bench`, within the budget."""
    warnings.simplefilter("ignore")  # of torch, about its own settings
    dynamo_config.recompile_limit = 64  # several networks share the code of their blocks
    dynamo_config.fail_on_recompile_limit_hit = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = options.size or ("full" if device.type == "cuda" else "small")
    machine = describe_machine(device, size=name, budget_s=options.budget_s)
    path = options.json or Path(f"gpu-{machine['device'].replace(' ', '-')}.json")
    budget = Budget(options.budget_s, started=started, patience=1 if device.type == "cuda" else 20)
    budget.guard_end()
    print("\n".join(f"{key}: {value}" for key, value in machine.items() if key != "settings"))
    if missing:
        print(f"missing: {', '.join(missing)}; the times that steps wait for data cannot be measured without them")
    results = Results(path, machine, budget)
    bench = Bench(SIZES[name], device, results, missing=missing)
    for job in jobs:
        row = results.add(Row(table="Jobs", name=job))
        before_s = budget.left_s
        results.attempt(row, getattr(bench, job))
        row.figures["seconds"] = before_s - budget.left_s
        results.save()
    results.show(["Jobs"])
    if not results.save():
        sys.exit(1)
    print(f"\n{budget.seconds - budget.left_s:.0f} s in all, saved as {path}")


def describe_machine(device: torch.device, *, size: str, budget_s: float) -> dict[str, Any]:
    """Return what figures depend on: the device, versions and settings."""
    on_gpu = device.type == "cuda"
    properties = torch.cuda.get_device_properties(device) if on_gpu else None
    return {
        "device": properties.name if properties else "CPU",
        "memory_bytes": properties.total_memory
        if properties
        else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "cuda": torch.version.cuda if on_gpu else None,
        "cudnn": torch.backends.cudnn.version() if on_gpu else None,
        "commit": read_commit(),
        "size": size,
        "settings": asdict(SIZES[size]),
        "budget_s": budget_s,
    }


def read_commit() -> str | None:
    """Return the commit of this checkout, or None if it is none."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    with suppress(OSError):
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip() or None
    return None
