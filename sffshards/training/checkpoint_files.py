"""Checkpoint files: their published names, written atomically, and read again only by the training that wrote them."""

from __future__ import annotations

import math
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO

from sffshards.base.atomic_files import replacing
from sffshards.base.errors import InputError
from sffshards.models import read_checkpoint
from sffshards.training.flare_classifier import plain_hyperparameters
from sffshards.training.fold_record import FoldRecord
from sffshards.training.recipe import Schedule
from sffshards.training.training_config import TrainingOptions

LAST_NAME = "last.ckpt"
"""The checkpoint from which an interrupted run resumes."""

_RESUMED = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "hyper_parameters")
"""Entries of a checkpoint without which training would begin again, or with a new optimiser."""

_AVERAGED = ("current_model_state", "averaging_state")
"""Entries of a checkpoint, besides these, of a training that averages its weights."""

_SCHEDULE = "epoch_loop.scheduler_progress"
"""Entry of a checkpoint with Lightning's count of the steps of the schedule."""

_KEEPER = "FoldKeeper"
"""Name under which a checkpoint holds the table of epochs and the best checkpoints."""


def format_checkpoint_name(options: TrainingOptions, *, fold: int, epoch: int, valid_loss: float) -> str:
    """Return the name of a checkpoint as the published programs have it, with six digits of the loss.

    Examples
    --------
    >>> from sffshards.models.model_names import ModelName
    >>> from sffshards.domain.sample_sets import Protocol, Variant
    >>> model = ModelName.MVIT_V2_S
    >>> options = TrainingOptions(
    ...     variant=Variant.OTV, protocol=Protocol.PAPER, model=model, weights="none", learning_rate=1e-7
    ... )
    >>> format_checkpoint_name(options, fold=3, epoch=7, valid_loss=0.0166)
    'sample-FLARE_MViT_S_10-7-epoch=07-valid_loss=0.016600-Wloss_k=3.ckpt'
    """
    rate = _format_rate(options.learning_rate)
    return f"sample-FLARE_{options.model.tag}_{rate}-epoch={epoch:02d}-valid_loss={valid_loss:.6f}-Wloss_k={fold}.ckpt"


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes checkpoints atomically, and reads those of one training without running code.

    Parameters
    ----------
    record
        Record of the fold that is trained.
    """

    def __init__(self, record: FoldRecord) -> None:
        super().__init__()
        self._hyperparameters = plain_hyperparameters(record)
        plateau = record.options.schedule is Schedule.PLATEAU
        self._needed = [name for name in _RESUMED if plateau or name != "lr_schedulers"]
        self._needed += _AVERAGED if record.options.ema_decay else []

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint."""
        with replacing(Path(path)) as temporary:
            _save(checkpoint, temporary)

    def load_checkpoint(
        self,
        path: Any,
        map_location: Any = None,  # tensors are read on the CPU, and moved by the module
        weights_only: Any = None,
    ) -> dict[str, Any]:
        """Read a checkpoint to resume from, always with ``weights_only``; raises `InputError` for any other."""
        try:
            checkpoint = read_checkpoint(Path(path))
        except InputError as error:
            raise not_resumable(path, error.found) from None
        if missing := [name for name in self._needed if not checkpoint.get(name)]:
            raise not_resumable(path, f"one without {missing[0]}")
        if _KEEPER not in checkpoint["callbacks"]:
            raise not_resumable(path, "one that another program wrote")
        if (found := checkpoint["hyper_parameters"]) != self._hyperparameters:
            different = [name for name, value in self._hyperparameters.items() if found.get(name) != value]
            raise not_resumable(path, f"one of another training, with another {different[0] if different else 'model'}")
        return checkpoint


def not_resumable(path: object, found: str) -> InputError:
    """Return the error for a ``last.ckpt`` from which training cannot resume."""
    fix = "restore it, or train the fold again with `sffshards train --force`"
    return InputError(path, expected="the checkpoint that this training saved last", found=found, fix=fix)


class _Sink:
    """A file to save to that keeps the error of the operating system, in whose place torch raises one without it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write bytes."""
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Do nothing; the file is flushed when it is closed."""


def _save(checkpoint: dict[str, Any], path: Path) -> None:
    """Save to a file whose name torch does not know: it would be part of the bytes."""
    with path.open("wb") as file:
        sink = _Sink(file)
        try:
            torch.save(_settle(checkpoint, {}), sink)  # type: ignore[arg-type]  # torch only writes and flushes
        except RuntimeError:
            if sink.error is None:
                raise
            raise sink.error from None


def _settle(value: Any, texts: dict[str, str]) -> Any:
    """Return a value whose pickle depends on what it holds alone.

    Objects that are shared are stored once, so that the bytes would show which strings are the same object in this
    process. Lightning's count of what the schedule did is another one in a resumed training, and is not used.
    """
    if type(value) is str:
        return texts.setdefault(value, value)
    if type(value) in (list, tuple):
        return type(value)(_settle(item, texts) for item in value)
    if type(value) in (dict, OrderedDict):
        settled = type(value)((_settle(key, texts), _settle(item, texts)) for key, item in value.items())
        if _SCHEDULE in settled:
            settled[_SCHEDULE] = {name: {"ready": 0, "completed": 0} for name in ("total", "current")}
        if extra := getattr(value, "__dict__", None):
            settled.__dict__.update(_settle(extra, texts))
        return settled
    return value


def _format_rate(rate: float) -> str:
    exponent = math.floor(math.log10(rate) + 1e-9)
    mantissa = round(rate / 10**exponent, 3)
    power = f"10{exponent}"
    return power if mantissa == 1 else f"{mantissa:g}x{power}"
