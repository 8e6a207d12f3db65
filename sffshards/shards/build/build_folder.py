"""The files in the folder of a build, and the check whether a build may be written there.

While a build is being written its folder holds ``.build/`` with the inputs of the build and a record of every shard.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from sffshards.base.atomic_files import remove_temporary, storage_errors, write_atomic
from sffshards.base.errors import ConflictError
from sffshards.base.folder_locks import LOCK_NAME
from sffshards.base.json_records import encode_record, read_own_json, to_plain
from sffshards.domain.sample_sets import Kind, Part
from sffshards.shards.format import CARD_NAME, INDEX_NAME, MANIFEST_NAME, BuildInputs, Manifest, format_card
from sffshards.shards.read import CHECKED_NAME, find_manifest

PUBLISHED_NAME = ".published.json"
"""Name of the file in a build's folder that records which shards were copied where."""

_STATE = ".build"
_INPUTS = "inputs.json"
_RECORDS = "records"
_ENCODED = "encoded"
_TAR = re.compile(rf"({'|'.join(Kind)})-[0-9]{{5,}}\.tar")
_OTHERS = (MANIFEST_NAME, INDEX_NAME, CARD_NAME, CHECKED_NAME, PUBLISHED_NAME)
"""The other files of a build, in the order in which to remove them: without its manifest it is no build."""


def state_folder(out: Path) -> Path:
    """Return the folder of the state of an unfinished build."""
    return out / _STATE


def records_folder(out: Path) -> Path:
    """Return the folder of the records of written shards."""
    return out / _STATE / _RECORDS


def encoded_folder(out: Path) -> Path:
    """Return the folder of frames encoded for the shards being written."""
    return out / _STATE / _ENCODED


def write_inputs(out: Path, inputs: BuildInputs) -> None:
    """Record the inputs of the build being written."""
    write_atomic(out / _STATE / _INPUTS, encode_record(inputs))


def check_folder(out: Path, inputs: BuildInputs, *, force: bool, early: bool) -> None:
    """Refuse a folder with anything but this build, finished or not; with ``force``, with anything but some build."""
    if not out.exists():
        return
    with storage_errors(out):
        names = set(os.listdir(out))
    if names - {_STATE} and not _holds_a_build(out):
        raise ConflictError(
            out,
            expected="an empty folder, or one of a build",
            found=f"other files ({', '.join(sorted(names)[:3])})",
            fix="name another folder as {out}",
        )
    if force:
        return
    manifest = find_manifest(out)
    theirs = to_plain(manifest.inputs) if manifest else _read_state(out)
    if theirs is not None:
        refuse_other(out, theirs, inputs, early=early)


def refuse_other(place: object, theirs: dict[str, Any], inputs: BuildInputs, *, early: bool) -> None:
    """Raise `ConflictError` if a place holds a build of other inputs; ``early`` leaves out those of the images."""
    mine = to_plain(inputs)
    skip = {"num_images", "images_sha256", "skipped_frames"} if early else set()
    different = [name for name in mine if name not in skip and theirs.get(name) != mine[name]]
    if different:
        raise ConflictError(
            place,
            expected="no build, or one of the same inputs",
            found=f"another build: {', '.join(_describe_difference(name, theirs, mine) for name in different)}",
            fix="name another place as {out}, or pass {force} to replace it",
        )


def _holds_a_build(out: Path) -> bool:
    """Return whether a folder holds a build; the manifest of another program does not count."""
    if _read_state(out) is not None:
        return True
    content = read_own_json(out / MANIFEST_NAME)  # None if it is damaged; then the tars decide
    if isinstance(content, dict) and {"format_version", "groups", "shards"} <= set(content):
        return True
    return (out / INDEX_NAME).is_file() and bool(own_tars(out))


def own_tars(out: Path) -> list[Path]:
    """Return the tars in a folder that are named as those of a build."""
    return [path for part in Part for path in (out / part).glob("*.tar") if _TAR.fullmatch(path.name)]


def _describe_difference(name: str, theirs: dict[str, Any], mine: dict[str, Any]) -> str:
    there, here = theirs.get(name), mine[name]
    if isinstance(here, dict) or name.endswith("sha256"):
        return f"other {name}"
    return f"{name} {there} there, {here} now"


def _read_state(out: Path) -> dict[str, Any] | None:
    """Return the inputs of the unfinished build in a folder; None if there is none."""
    inputs = read_own_json(out / _STATE / _INPUTS)
    return inputs if isinstance(inputs, dict) and {"program_version", "task", "codec"} <= set(inputs) else None


def clear_folder(out: Path) -> None:
    """Remove a build, its manifest first, and no other file."""
    with storage_errors(out):
        for path in (*(out / name for name in _OTHERS), out / _STATE / _INPUTS, *own_tars(out)):
            path.unlink(missing_ok=True)
        shutil.rmtree(records_folder(out), ignore_errors=True)


def remove_leftovers(out: Path) -> None:
    """Remove temporary files of killed processes; the caller must hold the folder's lock."""
    remove_temporary(out, re.compile("|".join(map(re.escape, _OTHERS))))
    remove_temporary(state_folder(out), re.compile(re.escape(_INPUTS)))
    for part in Part:
        remove_temporary(out / part, _TAR)


def remove_state(out: Path) -> None:
    """Remove the state of an unfinished build, and no other file; the lock holds until it is released."""
    for folder in (records_folder(out), encoded_folder(out)):
        shutil.rmtree(folder, ignore_errors=True)
    for name in (_INPUTS, LOCK_NAME):
        with suppress(OSError):
            (state_folder(out) / name).unlink()
    with suppress(OSError):  # it holds other files
        state_folder(out).rmdir()


def finish_build(out: Path, manifest: Manifest, index: bytes) -> None:
    """Remove tars of other builds, then write index, card and, last, the manifest."""
    names = {shard.name for shard in manifest.shards}
    with storage_errors(out):
        for path in own_tars(out):
            if f"{path.parent.name}/{path.name}" not in names:
                path.unlink()
    write_atomic(out / INDEX_NAME, index)
    write_atomic(out / CARD_NAME, format_card(manifest))
    write_atomic(out / MANIFEST_NAME, manifest.to_bytes())
