"""The benchmark of a GPU runs to its end without one, fits its budget, and reports what fails instead of ending."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu
from benchmarks.on_gpu.results import COLUMNS, Results, Row, format_table
from benchmarks.on_gpu.speed import find_largest
from benchmarks.on_gpu.time_budget import Budget, OutOfTimeError

ROOT = Path(__file__).parents[1]
IMPORT_NAMES = {"lazy-loader": "lazy_loader", "pillow": "PIL", "pyerfa": "erfa", "scikit-learn": "sklearn"}
WITH_TORCH = {"PIL", "fsspec", "jinja2", "numpy", "torch", "torchvision"}
"""Dependencies of ours that torch and torchvision install."""


def run(out: Path, *options: str, hidden: set[str]) -> subprocess.CompletedProcess[str]:
    """Run the benchmark where some packages cannot be imported."""
    hide = f"import sys, runpy; sys.modules.update(dict.fromkeys({sorted(hidden)!r}))"
    command = f"{hide}; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    script = [str(ROOT / "benchmarks" / "gpu.py"), "--size", "small", "--json", str(out), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [sys.executable, "-c", command, *script],
        capture_output=True,
        text=True,
        timeout=1800,
        cwd=out.parent,
        env=environment,
    )


def dependencies() -> set[str]:
    """Import names of what the project depends on."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = {requirement.split(">")[0].split("[")[0] for requirement in project["dependencies"]}
    return {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in names}


def check_figures(record: dict[str, Any]) -> None:
    assert record["format_version"] == 1
    assert {"device", "torch", "torchvision", "commit", "settings", "budget_s", "seconds"} <= record.keys()
    for row in record["rows"]:
        assert row.keys() == {"table", "name", "batch", "figures", "status"}
        for name, value in row["figures"].items():
            assert name in COLUMNS
            assert math.isfinite(value), row
            assert value > 0, row


@pytest.mark.long
def test_every_job_is_rehearsed_on_a_cpu_with_no_more_packages_than_it_names(tmp_path: Path) -> None:
    hidden = dependencies() - WITH_TORCH - {*gpu.FOR_NETWORKS, *gpu.FOR_SHARDS}
    assert {"pytorch_lightning", "matplotlib", "rich", "typer"} <= hidden
    done = run(tmp_path / "gpu.json", "--budget-s", "1700", hidden=hidden)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "gpu.json").read_text())
    check_figures(record)
    rows = record["rows"]
    assert [row["name"] for row in rows if row["table"] == "Jobs"] == list(gpu.JOBS)
    not_measured = {row["status"] for row in rows} - {"measured"}
    assert not_measured == {"skipped: needs a GPU", "the search ended at 2"}
    wanted = {"first_step_s", "peak_bytes", "clips_per_second", "ratio", "teraflops_per_second"}
    for table in ("Training step, float32", "Training step, bf16", "Inference, bf16"):
        of_table = [row for row in rows if row["table"].startswith(table) and row["figures"]]
        names = {"torchvision", "fused", "torchvision, compiled", "fused, compiled"}
        assert names <= {row["name"] for row in of_table}
        assert all(wanted <= row["figures"].keys() for row in of_table)
    waits = [row for row in rows if row["table"].startswith("Waiting for data")]
    assert {row["name"].split(",")[0] for row in waits} == {"jpg", "npy"}
    assert all(0 < row["figures"]["wait_share"] < 1 for row in waits)
    kernels = [row for row in rows if row["table"].startswith("Profile of a training step, fused, float32")]
    assert len(kernels) == 11  # one for all, and the ten largest
    assert "\nJobs\n" in done.stdout


@pytest.mark.long
def test_what_does_not_fit_in_the_budget_is_skipped_and_said_so(tmp_path: Path) -> None:
    start = time.monotonic()
    done = run(tmp_path / "gpu.json", "--budget-s", "15", hidden=dependencies() - WITH_TORCH - {"lazy_loader"})
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - start < 60
    record = json.loads((tmp_path / "gpu.json").read_text())
    check_figures(record)
    statuses = {row["table"]: row["status"] for row in record["rows"]}
    assert statuses["Training step, bf16, batches of 1"] == "skipped: no time left"
    assert statuses["Data"].startswith("skipped: needs msgspec, simplejpeg, xxhash, erfa, webdataset")
    assert "missing: msgspec, simplejpeg" in done.stdout


def test_without_what_networks_need_one_line_says_so(tmp_path: Path) -> None:
    done = run(tmp_path / "gpu.json", hidden={"lazy_loader"})
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "benchmarks/gpu.py: expected the packages torch, torchvision, numpy, lazy_loader, found no lazy_loader"
    ]


def make_results(folder: Path, seconds: float = 60.0) -> Results:
    return Results(folder / "gpu.json", {"device": "none"}, Budget(seconds, started=time.monotonic()))


def test_a_failure_is_reported_in_its_row_and_the_next_goes_on(tmp_path: Path) -> None:
    results = make_results(tmp_path)
    first, second = (results.add(Row(table="T", name=name)) for name in ("a", "b"))

    def fail() -> None:
        raise MemoryError("out of memory\nand more")

    assert not results.attempt(first, fail)
    assert results.attempt(second, lambda: second.figures.update(clips_per_second=12.5))
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert [row["status"] for row in rows] == ["failed: MemoryError: out of memory", "measured"]
    assert format_table("T", results.rows).splitlines()[1:] == [
        "T",
        "     batch  clips/s",
        "  a      -        -  failed: MemoryError: out of memory",
        "  b      -     12.5",
    ]


@pytest.mark.slow
def test_what_takes_too_long_is_interrupted_even_through_handlers_of_errors(tmp_path: Path) -> None:
    results = make_results(tmp_path)
    row = results.add(Row(table="T", name="a"))

    def hang() -> None:
        while True:
            try:
                time.sleep(30)
            except Exception:  # noqa: BLE001  as compilers do
                continue

    assert not results.attempt(row, hang, seconds=1.1)
    assert row.status == "stopped after 1 s"


def test_nothing_begins_when_the_budget_is_spent(tmp_path: Path) -> None:
    results = make_results(tmp_path, seconds=0.0)
    row = results.add(Row(table="T", name="a"))
    assert not results.attempt(row, lambda: pytest.fail("begun"), seconds=10)
    assert row.status == "skipped: no time left"
    with pytest.raises(OutOfTimeError), results.budget.limit(10):
        pytest.fail("begun")


@pytest.mark.parametrize(("truth", "first", "found"), [(100, 10, 100), (7, 10, 7), (0, 10, 0), (9999, 10, 4096)])
def test_the_largest_batch_is_found_to_within_a_sixteenth(truth: int, first: int, found: int) -> None:
    tried = []

    def fits(batch: int) -> bool:
        tried.append(batch)
        return batch <= truth

    largest = find_largest(fits, first=first, limit=4096)
    assert found - found // 16 <= largest <= found
    assert len(tried) == len(set(tried)) <= 12
