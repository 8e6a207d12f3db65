"""Fetch the published label lists and the Kinetics-400 weights, whose SHA-256 are known."""

from __future__ import annotations

import os
from pathlib import Path

from sffshards.base.atomic_files import user_cache
from sffshards.base.errors import ConflictError, Field, InputError
from sffshards.base.file_hashes import hash_file
from sffshards.base.progress import Progress
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import M24, M48
from sffshards.fetch.http_transfer import Source
from sffshards.fetch.verified_download import download

KINETICS_FILES = {
    "mvit_v2_s": "mvit_v2_s-ae3be167.pth",
    "mvit_v1_b": "mvit_v1_b-dbeb1030.pth",
    "swin3d_t": "swin3d_t-7615ae03.pth",
    "swin3d_s": "swin3d_s-da41c237.pth",
    "swin3d_b": "swin3d_b_1k-24f7c7c6.pth",
    "s3d": "s3d-d76dad2f.pth",
    "r3d_18": "r3d_18-b3b3357e.pth",
    "mc3_18": "mc3_18-a90a0ba3.pth",
    "r2plus1d_18": "r2plus1d_18-91a641e6.pth",
}
"""torchvision's file of weights, trained on Kinetics-400, of each of its video networks."""
WEIGHTS_URL = "https://download.pytorch.org/models"
"""Folder of torchvision's files of weights."""
WEIGHTS_SHA256 = {"mvit_v2_s": "ae3be16733081f6d1cd40e4ab980ca23d6df6dc6486d15ada05a5e8ab8c9b975"}
"""SHA-256 by network; of others, the first eight digits are known, which torchvision writes into the file's name."""

LABELS_URL = (
    "https://raw.githubusercontent.com/lfgrim/SFF_MagSeq_MViTs/8338c1efb45e71aa382fd02ef4a4002e6d1fdac6/Seq_Magnetogram"
)
"""Folder of ``M24/`` and ``M48/`` at the commit that holds the lists."""

LABELS_SHA256 = {
    (M24, Part.TRAIN_VAL_0): "2fdb7a4f5ef3f9878d36171f1c4bba2ccb3e31ec9437fde8ac0fdfadf0d3e29a",
    (M24, Part.TRAIN_VAL_1): "73a56067a5c14d59cbae7517aad101636fc9c4c7c4c605c98f1f0a2144b77869",
    (M24, Part.TRAIN_VAL_2): "06b2d389002168014e9976c715043ed0115754a2dbd67d3a6e2dbe08b411701d",
    (M24, Part.TRAIN_VAL_3): "683d61ad5a045f742db20665b0ccfa04f7a2cc9d99b952a5625c91602abe0c03",
    (M24, Part.TRAIN_VAL_4): "2cd47b068893b0db1053d8063c2f4d4e91f838bf5a9c568b5ad62b4ac88eac43",
    (M24, Part.TEST): "7e49e5cc4a0aedaa869df7e6fad89539216e7d6e412e3613c07d13db370c7810",
    (M48, Part.TRAIN_VAL_0): "8474c16825a7f5241bd5fbe7089c4efcebf5b6f279eb42bf8de54bcb5a32fe77",
    (M48, Part.TRAIN_VAL_1): "65881ef180ef1f4bae9e7f2a7f4bba454c16beb1cc84c77a059bea66ecf03c48",
    (M48, Part.TRAIN_VAL_2): "da1d5e369e306dd58dedaa13f260f9d5615d5ba928e7e6629c4b6f336f61e8bc",
    (M48, Part.TRAIN_VAL_3): "f3b090c6dc16f1642b0edb74ba9bf0022b8d5954c06b15d6dc6b158a088400e3",
    (M48, Part.TRAIN_VAL_4): "39983d861fca22c82fd912eca082722d7e97370e5a21bb74ea57266bb52572e8",
    (M48, Part.TEST): "8cb32fea8f452cc5edd8773df39949f044a336f353744fdfb200f05b0bfc03b7",
}
"""SHA-256 of the twelve published lists."""

_MAX_WEIGHTS_BYTES = 1 << 30


def weights_path(model: str = "mvit_v2_s") -> Path:
    """Return the path where torch, as its environment sets it, and so `sffshards train` looks for a network's weights.

    Raises
    ------
    InputError
        If there are no Kinetics-400 weights of such a network.
    """
    home = os.path.expanduser(os.environ.get("TORCH_HOME") or user_cache() / "torch")  # noqa: PTH111  no error without a home
    return Path(home) / "hub" / "checkpoints" / _file_of(model)


def fetch_weights(path: Path, *, model: str = "mvit_v2_s", url: str | None = None, progress: Progress) -> Path:
    """Fetch torchvision's Kinetics-400 weights of one of its video networks.

    Parameters
    ----------
    path
        Where the file goes.
    model
        Name of the network.
    url
        URL of the file at a mirror; None for torchvision's.
    progress
        Shows the kilobytes that arrived.

    Raises
    ------
    InputError
        If there are no such weights of the network.
    DamageError, StorageError
        As `download`.
    """
    file = _file_of(model)
    known = WEIGHTS_SHA256.get(model) or file.removesuffix(".pth").rpartition("-")[2]
    original = f"{WEIGHTS_URL}/{file}"
    by_hand = f"download {original} on another machine and put it at {path}; or train with {{weights}} none"
    what = f"the Kinetics-400 weights of {model}"
    source = Source(url or original, what, by_hand, _MAX_WEIGHTS_BYTES, f"sha256:{known}")
    download(source, path, progress=progress)
    return path


def _file_of(model: str) -> str:
    if model not in KINETICS_FILES:
        expected = f"one of {', '.join(KINETICS_FILES)}"
        raise InputError(Field("model"), expected=expected, found=repr(model[:80]), fix="choose one of them")
    return KINETICS_FILES[model]


def fetch_labels(data: Path, *, url: str = LABELS_URL, force: bool, progress: Progress) -> list[Path]:
    """Fetch the twelve published label lists to ``data/M24/`` and ``data/M48/``.

    Parameters
    ----------
    data
        The data folder.
    url
        URL of a folder with ``M24/`` and ``M48/``.
    force
        Whether to replace other lists of the same names, each when the published one has arrived.
    progress
        Shows the kilobytes that arrived.

    Returns
    -------
    list of Path
        Paths of all lists.

    Raises
    ------
    ConflictError
        If other lists are there and ``force`` is false; nothing is fetched then.
    DamageError, StorageError
        As `download`.
    """
    wanted = {key: data / key[0].name / key[0].list_name(key[1]) for key in LABELS_SHA256}
    others = [p for key, p in wanted.items() if p.is_file() and hash_file(p) != LABELS_SHA256[key]]
    if others and not force:
        raise ConflictError(
            others[0],
            expected="no list, or the published one",
            found=f"another one ({len(others)} in all)",
            fix="name another folder, or replace them with {force}",
        )
    for key, path in wanted.items():
        place = f"{key[0].name}/{path.name}"
        by_hand = f"download {LABELS_URL}/{place} on another machine and put it at {path}"
        what, checksum = f"the published list {path.name}", f"sha256:{LABELS_SHA256[key]}"
        source = Source(f"{url.rstrip('/')}/{place}", what, by_hand, 1 << 24, checksum)
        download(source, path, replace=force, progress=progress)
    return list(wanted.values())
