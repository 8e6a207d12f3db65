"""Measure what lossy codecs change: ``python benchmarks/codec_loss.py DATA --run RUN``.

The sequences of a data folder, or of synthetic data, are built with every codec. For each lossy one, the script prints
how far its pixels differ from those of npy and, for each fold of each run, how far the log odds of a flare differ and
how many forecasts change sides at 0.5. Each sequence counts once.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sffshards.domain.task import M48
from sffshards.forecasting.runs import read_run
from sffshards.forecasting.runs.network_prediction import Inference, predict_rows
from sffshards.forecasting.runs.run_fold import RunFold
from sffshards.labels import find_data
from sffshards.models import NO_WEIGHTS, build_model, load_checkpoint
from sffshards.shards.build import BuildOptions, build_shards
from sffshards.shards.format import CodecName
from sffshards.shards.read import Build, open_build
from sffshards.synth import synthesize


def plain_rows(build: Build, every: int) -> NDArray[np.int64]:
    """Return the rows of the sequences' plain views, or of each n-th, in the order of their keys."""
    rows = np.unique(build.plain_rows())
    return rows[np.argsort(build.index["key"][rows])][::every]


def compare_pixels(build: Build, reference: Build, every: int) -> str:
    square, largest, num = 0.0, 0, 0
    for there, here in zip(plain_rows(reference, every), plain_rows(build, every), strict=True):
        difference = build.read_clip(here).astype(np.int16) - reference.read_clip(there)
        square += float(np.square(difference, dtype=np.int64).sum())
        largest = max(largest, int(np.abs(difference).max()))
        num += difference.size
    return f"rms {np.sqrt(square / num):.2f}, at most {largest} grey levels"


def log_odds(fold: RunFold, build: Build, every: int, *, batch_size: int) -> NDArray[np.float64]:
    options = fold.network.options
    model = build_model(options.model, weights=NO_WEIGHTS, attention=options.attention)
    load_checkpoint(model, fold.checkpoint, model_name=options.model)
    inference = Inference(batch_size=batch_size, num_threads=1, device=torch.device("cpu"))
    found = predict_rows(model, build, plain_rows(build, every), inference=inference, advance=lambda _: None)
    return np.log(found) - np.log1p(-found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="data folder; synthetic data if not given")
    parser.add_argument("--run", type=Path, action="append", default=[], help="a run; may be repeated")
    parser.add_argument("--every", type=int, default=1, help="use only each n-th sequence, for large networks")
    parser.add_argument("--batch-size", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or Path(folder) / "data"
        if options.data is None:
            synthesize(data, seed=0, num_harps=8, frames_per_harp=20)
        compare(build_all(data, Path(folder)), options)


def build_all(data: Path, folder: Path) -> list[Build]:
    """Build every sequence with each codec, npy first."""
    builds = []
    for codec in sorted(CodecName, key=lambda codec: codec is not CodecName.NPY):
        options = BuildOptions(task=M48, codec=codec, seed=0, shard_size_bytes=128_000_000, skip_bad_images=False)
        build_shards(find_data(data), options, out=folder / codec, store_folder=folder / "frames")
        builds.append(open_build(folder / codec))
    return builds


def compare(builds: list[Build], options: argparse.Namespace) -> None:
    reference, *others = builds
    print(f"{len(plain_rows(reference, options.every))} sequences")
    for build in others:
        print(f"{build.manifest.inputs.codec}: pixels differ by {compare_pixels(build, reference, options.every)}")
    for run in options.run:
        for fold in read_run(run).folds:
            true = log_odds(fold, reference, options.every, batch_size=options.batch_size)
            again = log_odds(fold, reference, options.every, batch_size=options.batch_size - 1)
            print(
                f"{fold.network.options.model}, {fold.folder}: log odds from {true.min():.2f} to {true.max():.2f}, "
                f"standard deviation {true.std():.2f}; up to {np.abs(again - true).max():.5f} by other batches"
            )
            for build in others:
                difference = log_odds(fold, build, options.every, batch_size=options.batch_size) - true
                num_changed = int(np.sum((difference + true >= 0) != (true >= 0)))
                print(
                    f"  {build.manifest.inputs.codec}: rms {np.sqrt(np.mean(difference**2)):.4f}, "
                    f"at most {np.abs(difference).max():.4f}; {num_changed} change sides"
                )


if __name__ == "__main__":
    main()
