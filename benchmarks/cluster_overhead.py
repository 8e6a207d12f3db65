"""Compare the time of a build on a Dask cluster of this machine with that of local processes, in one run.

Run it on an idle machine: ``python benchmarks/cluster_overhead.py`` (about five minutes), or ``nox -s bench``. It draws
a synthetic data set and times the command `sffshards build`, to its end, with the same number of processes each:

local
    ``--workers 2``.
cluster
    ``--cluster local:2``, which starts the scheduler and the workers, and ends them.
running cluster
    ``--cluster scheduler.json`` with a scheduler and workers that are up, as on a real cluster.

The three take turns. It prints times, also those of the processors, which depend less on what else runs (without those
of the workers of a running cluster), then medians over the repeats, and ratios.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sffshards.executors import LocalExecutor, open_cluster
from sffshards.synth import synthesize

_DASK = [sys.executable, "-m"]


@contextmanager
def running_cluster(folder: Path, num_workers: int) -> Iterator[str]:
    """Start a scheduler and workers, as a user would by hand; yield the path of the scheduler file."""
    file = folder / "scheduler.json"
    scheduler = [*_DASK, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    worker = [
        *_DASK,
        "distributed.cli.dask_worker",
        "--nthreads",
        "1",
        "--nworkers",
        str(num_workers),
        "--no-dashboard",
    ]
    processes = [
        subprocess.Popen(
            [*command, "--scheduler-file", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for command in (scheduler, worker)
    ]
    try:
        while not file.is_file():
            time.sleep(0.1)
        with open_cluster(str(file)) as executor:
            while executor.num_workers < num_workers:
                time.sleep(0.5)
        yield str(file)
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait()


def time_build(data: Path, out: Path, where: list[str]) -> tuple[float, float]:
    """Return the seconds that a build takes, and the processor seconds of its processes; remove it."""
    command = [sys.executable, "-m", "sffshards", "build", str(data), "--horizon", "48h", "--out", str(out), *where]
    os.sync()
    start = time.perf_counter()
    build = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(build.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise RuntimeError(f"the build ended with status {status}")
    shutil.rmtree(out)
    return seconds, usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--harps", type=int, default=10, help="regions in each of the six parts")
    parser.add_argument("--frames", type=int, default=60, help="frames of each region")
    options = parser.parse_args()
    num_images = 6 * options.harps * options.frames
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with LocalExecutor(options.workers) as executor:
            synthesize(
                folder / "data", seed=1, num_harps=options.harps, frames_per_harp=options.frames, executor=executor
            )
        with running_cluster(folder, options.workers) as scheduler:
            places = {
                "local": ["--workers", str(options.workers)],
                "cluster": ["--cluster", f"local:{options.workers}"],
                "running cluster": ["--cluster", scheduler],
            }
            times: dict[str, list[float]] = {name: [] for name in places}
            for number in range(options.repeats):
                for name, where in places.items():
                    seconds, of_processors = time_build(folder / "data", folder / "out", where)
                    times[name].append(seconds)
                    print(
                        f"{number + 1}: {name:<16} {seconds:8.2f} s, {of_processors:8.2f} s of processors", flush=True
                    )
    print(f"{num_images:,} images, {options.workers} processes, medians")
    for name, of_name in times.items():
        ratios = [other / local for other, local in zip(of_name, times["local"], strict=True)]
        print(f"{name:<16} {statistics.median(of_name):8.2f} s, {statistics.median(ratios):.3f} of local")


if __name__ == "__main__":
    main()
