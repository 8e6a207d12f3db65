"""Measure the speed of a training step of MViTv2-S on a CPU, ours against torchvision's, in one run.

Run it on an idle machine: ``python benchmarks/train_step.py`` (about five minutes on two cores). For a GPU, there is
``benchmarks/gpu.py``. A step is forward, backward and Adam, on clips in memory. The ways below take turns, step by
step. Each row is a precision and a way:

torchvision
    ``--attention torchvision``: attention with a matrix of scores, three equal channels.
fused
    ``--attention fused``, the default of ``sffshards train``.

It prints the median number of clips per second over the repeats, the ratio to torchvision's (the median of the ratios
of adjacent steps), and the peak of memory: the resident set of a process that does only two such steps, including
Python and torch. If other work shares the machine, ``OMP_NUM_THREADS=1 python benchmarks/train_step.py
--processor-time`` is disturbed least.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.nn import functional

from sffshards.domain.frame_sequences import NUM_FRAMES
from sffshards.domain.frames import FRAME_SIDE
from sffshards.models.model_names import Attention, ModelName
from sffshards.models.networks import build_model, scale_clips
from sffshards.training.recipe import Precision


class Trainer:
    """A network trained on random clips, in one way and precision."""

    def __init__(self, way: Attention, precision: Precision, options: argparse.Namespace) -> None:
        torch.manual_seed(0)
        self.net = build_model(options.model, weights="none", attention=way).train()
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-7)
        self.precision = precision
        self.clock = time.process_time if options.processor_time else time.perf_counter

    def step(self, batch: int) -> float:
        """Train one step, and return its seconds."""
        clips_BTHW = torch.randint(0, 256, (batch, NUM_FRAMES, FRAME_SIDE, FRAME_SIDE), dtype=torch.uint8)
        labels_B = torch.arange(batch) % 2
        start = self.clock()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision is Precision.BFLOAT16):
            logits_BK = self.net(scale_clips(clips_BTHW))
        functional.cross_entropy(logits_BK.float(), labels_B).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return self.clock() - start


def measure_peak_bytes(arguments: Sequence[str]) -> int:
    """Return the peak of memory over two steps, in a process of its own."""
    done = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
    return int(done.stdout)


def print_own_peak(trainer: Trainer, *, batch: int) -> None:
    for _ in range(2):
        trainer.step(batch)
    status = Path("/proc/self/status")
    if status.is_file():  # on Linux `ru_maxrss` is at least that of the parent process
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        print(int(line.split()[1]) * 1024)
    else:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def compare(precision: Precision, options: argparse.Namespace) -> None:
    ways = [Attention.TORCHVISION, Attention.FUSED]
    trainers = {way: Trainer(way, precision, options) for way in ways}
    seconds: dict[Attention, list[float]] = {way: [] for way in ways}
    for repeat in range(options.repeats + 1):
        for way, trainer in trainers.items():
            taken = trainer.step(options.batch)
            if repeat:  # the first step allocates
                seconds[way].append(taken)
    print(f"{precision}, batches of {options.batch}, {torch.get_num_threads()} threads of torch")
    for way in ways:
        alone = ["--peak", way, "--precision", precision, "--model", options.model, "--batch", str(options.batch)]
        peak = measure_peak_bytes(alone)
        rate = options.batch / statistics.median(seconds[way])
        ratio = statistics.median(a / b for a, b in zip(seconds[ways[0]], seconds[way], strict=True))
        line = f"  {way:<12} {rate:9.3f} clips/s  {ratio:5.2f} times torchvision's  {peak / 1e9:6.2f} GB"
        print(line, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=1, help="clips per step")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", type=ModelName, default=ModelName.MVIT_V2_S)
    parser.add_argument("--precision", type=Precision, help="run only this precision")
    parser.add_argument("--processor-time", action="store_true", help="measure processor time")
    parser.add_argument("--peak", metavar="WAY", type=Attention, help="print this way's peak of memory, and exit")
    options = parser.parse_args(arguments)
    if options.peak:
        print_own_peak(Trainer(options.peak, options.precision, options), batch=options.batch)
        return
    for precision in [options.precision] if options.precision else [Precision.FLOAT32, Precision.BFLOAT16]:
        compare(precision, options)


if __name__ == "__main__":
    main()
