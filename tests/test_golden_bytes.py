"""The bytes of shards and indexes, which no change of the program may alter without a new format version.

The hashes hold for the versions that constraints.txt pins: another encoder writes other bytes.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from tests.commands import run

_PREFIX = re.compile("/M(24|48)-[A-Za-z0-9]+-")

SYNTHETIC = {
    "jpg": (
        "142c18ad9f0b03ee46327f64f26b3bff86c7fb712dbdfcf57d25918c493e432b",
        "f2e9c79a7308d0c9a61ecea865dbe6415c9817e962f4f9cc331879b33fe03404",
    ),
    "npy": (
        "59fb9c980c36cbb668435e6fd5f6d31dffb5bd1db073be13475b85e26593d5eb",
        "c392fd1cc16257a33fb5e4f0e31ac3e25cfe83494cbe7c58f437a0ec93147cd3",
    ),
    "mp4": (
        "bfdf492b67a1b48c639d93b78137b52484a884ae0399b57a6d6a1d5acb75331e",
        "ce6ee1031a0c10eeb65c01c008094b33875c11887f7dca5219422d4eec02e859",
    ),
}
"""Of `sffshards synth --harps 2 --frames 8 --seed 5`, by codec; 24 h and 48 h."""

REAL = {
    "jpg": (
        "51ace24a0f2c6b8b4d9fe55ee56051f3451bd19985f03dfd139ef13ae4a2fca5",
        "abe8e5b17b5ec4844c72a25fd69e60f85fa3e9b2341c7eb6d7f8d4ddb2aee1c8",
    ),
    "npy": (
        "b25f526c236922979160a4edecc1fd58ab41e4fddc222881ca13f95a9ceda8c9",
        "498dd064b95e7b232d595dbe6a70c4bc0dab2359a13bdcef5fad40864c39387b",
    ),
    "mp4": (
        "290293e41c71931df12accf21e3f6ce606901c7231dea0209ab2e5b8a6007403",
        "51a5f192b70005c2b3320e43ccf1e7c3f31cf2cfe125fb7f33c946cf11e13775",
    ),
}
"""Of the real images with their lists, by codec; 24 h and 48 h."""


@pytest.mark.parametrize(
    "codec",
    [
        *(pytest.param(codec, marks=pytest.mark.slow) for codec in ("jpg", "npy")),
        pytest.param("mp4", marks=pytest.mark.long),
    ],
)
def test_shards_of_synthetic_data_keep_their_bytes(codec: str, tmp_path: Path) -> None:
    run("synth", tmp_path / "data", "--harps", "2", "--frames", "8", "--seed", "5", "--workers", "2")
    assert _hash_builds(codec, tmp_path / "data", tmp_path) == SYNTHETIC[codec]


@pytest.mark.realdata
@pytest.mark.parametrize("codec", REAL)
def test_shards_of_real_images_keep_their_bytes(codec: str, real_mini: Path, tmp_path: Path) -> None:
    assert _hash_builds(codec, real_mini, tmp_path) == REAL[codec]


def _hash_builds(codec: str, data: Path, folder: Path) -> tuple[str, str]:
    """Build both horizons in a codec; return the SHA-256 of the sorted names and hashes of tars and index, 24h first.

    Names are those of format version 2, in which the hashes were recorded, without task and part.
    """
    run("build", data, "--codec", codec, "--shard-size", "16", "--workers", "2", "--out", folder / codec)
    hashes = []
    for build in (folder / codec / "24h", folder / codec / "48h"):
        paths = [*build.rglob("*.tar"), build / "index.npy"]
        names = [_PREFIX.sub("/", path.relative_to(build).as_posix()) for path in paths]
        hashed = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
        lines = sorted(f"{name} {of}\n" for name, of in zip(names, hashed, strict=True))
        assert len(lines) > 7  # six parts of plain samples, at least one of augmented ones, and the index
        hashes.append(hashlib.sha256("".join(lines).encode()).hexdigest())
    return hashes[0], hashes[1]
