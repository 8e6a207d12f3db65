"""Measure the speed and memory of a training step of MViTv2-S, ours against torchvision's, in one run.

Run it on an idle machine: ``python benchmarks/train_step.py`` (about five minutes on two cores). A step is forward,
backward and Adam, on clips in memory. The ways below take turns, step by step. Each row is a precision and a way:

torchvision
    ``--attention torchvision``: attention with a matrix of scores, three equal channels.
fused
    ``--attention fused``, the default of ``sffshards train``.
torchvision, compiled and fused, compiled
    on a GPU: the same after `torch.compile`.

It prints the median number of clips per second over the repeats, the ratio to torchvision's (the median of the ratios
of adjacent steps), and the peak of memory. On a CPU this is the resident set of a process that does only two such
steps, including Python and torch; on a GPU, the memory allocated there. Without a GPU it runs float32 and bfloat16
autocast; with one, bfloat16, and the largest batch of each way too. If other work shares the machine,
``OMP_NUM_THREADS=1 python benchmarks/train_step.py --processor-time`` is disturbed least.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from sffshards.domain.frame_sequences import NUM_FRAMES
from sffshards.domain.frames import FRAME_SIDE
from sffshards.models.model_names import Attention, ModelName
from sffshards.models.networks import build_model, scale_clips
from sffshards.training.training_config import Precision


class Trainer:
    """A network trained on random clips, in one way and precision."""

    def __init__(self, way: str, precision: Precision, device: torch.device, options: argparse.Namespace) -> None:
        attention, _, compiled = way.partition(", ")
        torch.manual_seed(0)
        self.net: nn.Module = (
            build_model(options.model, weights="none", attention=Attention(attention)).to(device).train()
        )
        self.forward: Callable[[Tensor], Tensor] = torch.compile(self.net) if compiled else self.net
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-7)
        self.precision, self.device = precision, device
        self.clock = time.process_time if options.processor_time else time.perf_counter

    def step(self, batch: int) -> float:
        """Train one step, and return its seconds."""
        shape = (batch, NUM_FRAMES, FRAME_SIDE, FRAME_SIDE)
        clips_BTHW = torch.randint(0, 256, shape, dtype=torch.uint8, device=self.device)
        labels_B = torch.arange(batch, device=self.device) % 2
        self._wait()
        start = self.clock()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision is Precision.BFLOAT16):
            logits_BK = self.forward(scale_clips(clips_BTHW))
        functional.cross_entropy(logits_BK.float(), labels_B).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._wait()
        return self.clock() - start

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def find_largest_batch(trainer: Trainer) -> int:
    """Find the largest batch that fits, by doubling and then bisection."""
    fits, fails = 0, 0
    while not fails or fails - fits > max(1, fits // 16):
        batch = (fits + fails) // 2 if fails else max(1, 2 * fits)
        try:
            trainer.step(batch)
            fits = batch
        except torch.cuda.OutOfMemoryError:
            fails = batch
        trainer.optimizer.zero_grad()
        torch.cuda.empty_cache()
    return fits


def measure_peak_bytes(trainer: Trainer, arguments: Sequence[str], *, batch: int) -> int:
    """Return the peak of memory over two steps; on a CPU, in a process of its own."""
    if trainer.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        trainer.step(batch)
        return torch.cuda.max_memory_allocated()
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


def compare(precision: Precision, ways: list[str], options: argparse.Namespace, device: torch.device) -> None:
    trainers = {way: Trainer(way, precision, device, options) for way in ways}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for repeat in range(options.repeats + 1):
        for way, trainer in trainers.items():
            taken = trainer.step(options.batch)
            if repeat:  # the first step compiles and allocates
                seconds[way].append(taken)
    print(f"{precision}, batches of {options.batch} on {device.type}, {torch.get_num_threads()} threads of torch")
    for way in ways:
        trainer = trainers.pop(way)
        alone = ["--peak", way, "--precision", precision, "--model", options.model, "--batch", str(options.batch)]
        peak = measure_peak_bytes(trainer, alone, batch=options.batch)
        rate = options.batch / statistics.median(seconds[way])
        ratio = statistics.median(a / b for a, b in zip(seconds[ways[0]], seconds[way], strict=True))
        line = f"  {way:<22} {rate:9.3f} clips/s  {ratio:5.2f} times torchvision's  {peak / 1e9:6.2f} GB"
        if device.type == "cuda":
            line += f"  largest batch {find_largest_batch(trainer)}"
        print(line, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, help="clips per step (1 on a CPU, 10 on a GPU)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", type=ModelName, default=ModelName.MVIT_V2_S)
    parser.add_argument("--precision", type=Precision, help="run only this precision")
    parser.add_argument("--processor-time", action="store_true", help="measure processor time, on a CPU")
    parser.add_argument("--device", help="cpu or cuda (default: a GPU if there is one)")
    parser.add_argument("--peak", metavar="WAY", help="print this way's peak of memory on a CPU in bytes, and exit")
    options = parser.parse_args(arguments)
    if options.peak:
        print_own_peak(Trainer(options.peak, options.precision, torch.device("cpu"), options), batch=options.batch)
        return
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    on_gpu = device.type == "cuda"
    options.batch = options.batch or (10 if on_gpu else 1)
    ways = [*Attention][::-1]
    names = [str(way) for way in ways] + [f"{way}, compiled" for way in ways if on_gpu]
    precisions = [Precision.BFLOAT16] if on_gpu else [Precision.FLOAT32, Precision.BFLOAT16]
    for precision in [options.precision] if options.precision else precisions:
        compare(precision, names, options, device)


if __name__ == "__main__":
    main()
