"""All commands on small inputs, one after the other, each in a folder of its own, for tests that disturb them."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tests.fake_jsoc import serve_jsoc
from tests.fits_files import file_name, make_fits
from tests.forked import log_accesses, run_forked, use_fast_network
from tests.tiny import digest_tree

__all__ = ["CASES", "DAY", "FLARES", "Case", "Chain", "copy_files", "digest_outputs", "import_everything", "make_chain"]

_NETWORK = ["--model", "mvit_tiny", "--weights", "none", "--epochs", "2", "--batch-size", "4", "--threads", "0"]
_TRAINING = [*_NETWORK, "--accelerator", "cpu", "--lr", "0.1", "--logger", "csv", "--allow-one-class"]
FLARES = ["--flares", "data/flares.csv", "--harp-map", "data/harps.txt"]
EXPLAIN = ["explain", "--steps", "2", "--patch", "112", "--device", "cpu"]
DAY = ["--harp", "377", "--start", "2011-02-13", "--end", "2011-02-13T08:00"]

_VOLATILE = ("csv", "frames", "jsoc.json")
"""Names of what states times, ports or the number of tries: logs of steps, the journal of frames, the note of URLs."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command, what it reads, and how often it is killed."""

    arguments: list[str]
    inputs: tuple[str, ...] = ()
    """Folders that it reads, as the commands before it left them."""
    outputs: tuple[str, ...]
    """Files and folders that it writes."""
    num_kills: int | None = 3
    """Number of kills at random accesses; None for one between every pair of writes."""


CASES: dict[str, Case] = {
    "synth": Case(arguments=["synth", "--harps", "2", "--frames", "4", "--seed", "5"], outputs=("data",)),
    "ingest": Case(arguments=["ingest", "fits", "--out", "ingested"], inputs=("fits",), outputs=("ingested",)),
    "sequences": Case(
        arguments=["sequences", "data/M48/flare_Mclass_48h_Test.txt"], inputs=("data",), outputs=("seqs",)
    ),
    "labels": Case(arguments=["labels", "rebuild", *FLARES], inputs=("data",), outputs=("labels",)),
    "build": Case(
        arguments=["build", "--horizon", "48h", "--codec", "npy", "--shard-size", "4"],
        inputs=("data",),
        outputs=("shards",),
        num_kills=4,
    ),
    "verify": Case(arguments=["verify"], inputs=("data", "shards"), outputs=("shards",), num_kills=1),
    "train": Case(
        arguments=["train", "--fold", "0", *_TRAINING], inputs=("shards",), outputs=("runs",), num_kills=None
    ),
    "evaluate": Case(
        arguments=["evaluate", "--threads", "0", "--device", "cpu"],
        inputs=("shards", "runs"),
        outputs=("runs",),
        num_kills=None,
    ),
    "predict": Case(
        arguments=["predict", "--run", "runs/48h/base", "--images", "data/magnetogram_jpg", "--out", "p.csv"],
        inputs=("data", "runs"),
        outputs=("p.csv",),
        num_kills=2,
    ),
    "baselines": Case(
        arguments=["baselines", *FLARES, "--out", "scores", "--runs", "others"],
        inputs=("data",),
        outputs=("scores", "others"),
    ),
    "score": Case(
        arguments=["score", "data/forecasts.csv", "--task", "M48", "--out", "scored"],
        inputs=("data",),
        outputs=("scored",),
        num_kills=2,
    ),
    "import": Case(
        arguments=["import", "data/forecasts.csv", "--task", "M48", "--name", "other", "--out", "imported"],
        inputs=("data",),
        outputs=("imported",),
        num_kills=2,
    ),
    "combine": Case(
        arguments=["combine", "others/48h/persistence", "imported/48h/other", "--name", "both", "--out", "combined"],
        inputs=("others", "imported"),
        outputs=("combined",),
        num_kills=2,
    ),
    "explain": Case(
        arguments=[*EXPLAIN, "--run", "runs/48h/base", "--shards", "shards", "--latest"],
        inputs=("shards", "runs"),
        outputs=("explanations",),
        num_kills=3,
    ),
    "report": Case(arguments=["report"], inputs=("shards", "runs"), outputs=("report",), num_kills=3),
    "reproduce": Case(
        arguments=["reproduce", "--variants", "base,oT", "--folds", "0", *_TRAINING, "--out", "all"],
        inputs=("shards",),
        outputs=("all", "report"),
        num_kills=5,
    ),
    "fetch": Case(arguments=["fetch", "jsoc", *DAY, "--out", "fetched"], outputs=("fetched",), num_kills=5),
}
"""In an order in which each finds what it reads."""


@dataclass(frozen=True)
class Chain:
    """What the commands left, none of which was disturbed."""

    base: Path
    digests: dict[str, dict[str, str]] = field(default_factory=dict)
    """SHA-256 of what each command wrote."""
    accesses: dict[str, list[str]] = field(default_factory=dict)
    """What each command did with files."""

    @property
    def folder(self) -> Path:
        """Folder with the outputs of all commands."""
        return self.state("made")

    def state(self, name: str) -> Path:
        """Return a folder of a name beside it."""
        return self.base / name


def import_everything() -> None:
    """Import what commands import, once, before they are forked."""
    for name in (
        *("lightning_fabric", "matplotlib.pyplot", "pandas", "sklearn.linear_model", "sffshards.cli.command_list"),
        *("sffshards.report.report_writing", "sffshards.training.fold_training"),
    ):
        importlib.import_module(name)


@contextmanager
def make_chain(base: Path) -> Iterator[Chain]:
    """Run all commands in a folder; JSOC answers while the block runs."""
    chain = Chain(base)
    (chain.folder / "fits").mkdir(parents=True)
    for hour in range(3):
        time = f"20110213_0{hour}0000"
        (chain.folder / "fits" / file_name(377, time)).write_bytes(make_fits(377, time))
    with serve_jsoc(377, datetime(2011, 2, 13), datetime(2011, 2, 14)) as server:
        os.environ["SFFSHARDS_JSOC_URL"] = server.url
        try:
            for name, case in CASES.items():
                _run_case(chain, name, case)
                if name == "synth":
                    _write_forecasts(chain.folder / "data")
            yield chain
        finally:
            del os.environ["SFFSHARDS_JSOC_URL"]


def _run_case(chain: Chain, name: str, case: Case) -> None:
    folder, log = chain.state(name), chain.base / f"{name}.log"
    copy_files(chain.folder, folder, case.inputs)

    def begin() -> None:
        use_fast_network()
        log_accesses(folder, log)

    done = run_forked(*case.arguments, cwd=folder, before=begin)
    assert done.code == 0, (name, done)
    chain.digests[name] = digest_outputs(folder, case.outputs)
    chain.accesses[name] = log.read_text().splitlines()
    for output in case.outputs if name != "reproduce" else ("all",):
        shutil.rmtree(chain.folder / output, ignore_errors=True)
        (folder / output).rename(chain.folder / output)


def _write_forecasts(data: Path) -> None:
    """Write forecasts of all frames of the lists, as another system would."""
    names = {line.split()[0] for of in (data / "M48").glob("*.txt") for line in of.read_text().splitlines()}
    rows = [name.split(".")[2:4] for name in sorted(names)]
    lines = [f"{harp},{time},{(number % 7 + 1) / 9:.3f}" for number, (harp, time) in enumerate(rows)]
    (data / "forecasts.csv").write_text("\n".join(["harp,time,probability", *lines]))


def digest_outputs(folder: Path, outputs: tuple[str, ...]) -> dict[str, str]:
    """Give the SHA-256 of what a command wrote, but what is hidden or volatile."""
    found: dict[str, str] = {}
    for output in outputs:
        place = folder / output
        files = digest_tree(place) if place.is_dir() else {"": digest_tree(folder).get(output, "")}
        found |= {f"{output}/{name}": sha256 for name, sha256 in files.items()}
    return {
        name: sha256
        for name, sha256 in found.items()
        if not any(part[:1] == "." or part in _VOLATILE for part in name.split("/"))
    }


def copy_files(source: Path, folder: Path, names: tuple[str, ...]) -> None:
    """Copy files and folders; large ones that no command changes are linked."""

    def copy(one: str, other: str) -> None:
        (os.link if one.endswith((".tar", ".jpg")) else shutil.copy2)(one, other)

    folder.mkdir(parents=True)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (source / name).is_dir():
            shutil.copytree(source / name, folder / name, copy_function=copy)
        else:
            shutil.copy2(source / name, folder / name)
