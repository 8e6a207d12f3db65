"""The files in the folder of a build, and the check whether a build may be written there.

While a build is being written its folder holds ``.build/`` with the inputs of the build and a record of every shard.
A build that replaces another is written to ``.build/new/``, and moved when it is complete.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sffshards.base.atomic_files import remove_temporary, replacing, storage_errors, write_atomic
from sffshards.base.errors import ConflictError, DamageError, FormatError
from sffshards.base.folder_locks import LOCK_NAME
from sffshards.base.json_records import encode_record, read_own_json, to_plain
from sffshards.domain.sample_sets import Kind, Part
from sffshards.executors import MARK_PREFIX
from sffshards.shards.format import CARD_NAME, INDEX_NAME, MANIFEST_NAME, BuildInputs, Manifest, format_card
from sffshards.shards.read import CHECKED_NAME, find_manifest

PUBLISHED_NAME = ".published.json"
"""Name of the file in a build's folder that records which shards were copied where."""

_STATE = ".build"
_INPUTS = "inputs.json"
_RECORDS = "records"
_ENCODED = "encoded"
_NEW = "new"
_PARTS = "parts"
_TAR = re.compile(rf"([A-Z][0-9._]+-({'|'.join(Part)})-)?({'|'.join(Kind)})-[0-9]{{5,}}\.tar")
_OTHERS = (MANIFEST_NAME, INDEX_NAME, CARD_NAME, CHECKED_NAME, PUBLISHED_NAME)
"""The other files of a build, in the order in which to remove them: without its manifest it is no build."""


def state_folder(out: Path) -> Path:
    """Return the folder of the state of an unfinished build."""
    return out / _STATE


def new_folder(out: Path) -> Path:
    """Return the folder of a build that will replace the one in ``out``."""
    return out / _STATE / _NEW


def records_folder(out: Path) -> Path:
    """Return the folder of the records of written shards."""
    return out / _STATE / _RECORDS


def parts_folder(out: Path) -> Path:
    """Return the folder of the records of parts whose images are decoded."""
    return out / _STATE / _PARTS


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
    replacing = _read_state(new_folder(out))
    if replacing is not None and not _find_different(replacing, inputs, early=early):
        return  # what ``force`` began, and the same command without it resumes
    manifest = find_manifest(out)
    theirs = to_plain(manifest.inputs) if manifest else _read_state(out)
    if theirs is not None:
        refuse_other(out, theirs, inputs, early=early)


def refuse_other(place: object, theirs: dict[str, Any], inputs: BuildInputs, *, early: bool) -> None:
    """Raise `ConflictError` if a place holds a build of other inputs; ``early`` leaves out those of the images."""
    if different := _find_different(theirs, inputs, early=early):
        raise ConflictError(
            place,
            expected="no build, or one of the same inputs",
            found=f"another build: {', '.join(different)}",
            fix="name another place as {out}, or pass {force} to replace it",
        )


def _find_different(theirs: dict[str, Any], inputs: BuildInputs, *, early: bool) -> list[str]:
    """Return the inputs of a build that another one does not share, each with both values."""
    mine = to_plain(inputs)
    skip = {"num_images", "images_sha256", "skipped_frames"} if early else set()
    return [
        _describe_difference(name, theirs, mine) for name in mine if name not in skip and theirs.get(name) != mine[name]
    ]


def _holds_a_build(out: Path) -> bool:
    """Return whether a folder holds a build; the manifest of another program does not count."""
    if any(_read_state(folder) is not None for folder in (out, new_folder(out))):
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


def is_replacing(out: Path, inputs: BuildInputs) -> bool:
    """Return whether a build of some inputs, which will replace the one in a folder, was begun."""
    theirs = _read_state(new_folder(out))
    return theirs is not None and not _find_different(theirs, inputs, early=False)


def discard_new(out: Path) -> None:
    """Remove what a build that would replace another has written; the caller must hold the folder's lock."""
    with storage_errors(out):
        if new_folder(out).exists():
            shutil.rmtree(new_folder(out))


def adopt_new(out: Path) -> None:
    """Replace the build in a folder by the new one, if that is complete; the caller must hold the folder's lock.

    A process may be killed anywhere in here: the next one moves what is left.
    """
    new = new_folder(out)
    try:
        manifest = find_manifest(new)
    except (DamageError, FormatError):  # it is written again
        manifest = None
    if manifest is None:
        return
    names = {shard.name for shard in manifest.shards}
    with storage_errors(out):
        for name in _OTHERS:
            (out / name).unlink(missing_ok=True)
        for path in own_tars(out):
            if f"{path.parent.name}/{path.name}" not in names:
                path.unlink()
        for name in (*sorted(names), INDEX_NAME, CARD_NAME):
            if (new / name).is_file():
                (out / name).parent.mkdir(parents=True, exist_ok=True)
                (new / name).replace(out / name)
        (new / MANIFEST_NAME).replace(out / MANIFEST_NAME)
        shutil.rmtree(new)


def remove_leftovers(out: Path) -> None:
    """Remove what killed processes left; the caller must hold the folder's lock."""
    shutil.rmtree(encoded_folder(out), ignore_errors=True)
    remove_temporary(out, re.compile("|".join(map(re.escape, _OTHERS))))
    remove_temporary(state_folder(out), re.compile(re.escape(_INPUTS)))
    for part in Part:
        remove_temporary(out / part, _TAR)


def remove_state(out: Path) -> None:
    """Remove the state of an unfinished build, and no other file; the lock holds until it is released."""
    for folder in (records_folder(out), encoded_folder(out), parts_folder(out)):
        shutil.rmtree(folder, ignore_errors=True)
    others = (path for pattern in (f"{MARK_PREFIX}*", ".part-*.lock") for path in state_folder(out).glob(pattern))
    for path in (state_folder(out) / _INPUTS, state_folder(out) / LOCK_NAME, *others):
        with suppress(OSError):
            path.unlink()
    with suppress(OSError):  # it holds other files
        state_folder(out).rmdir()


def write_finished(out: Path, manifest: Manifest, index: Iterable[bytes | memoryview]) -> None:
    """Remove tars of other builds, then write index, card and, last, the manifest; the index comes in pieces."""
    names = {shard.name for shard in manifest.shards}
    with storage_errors(out):
        for path in own_tars(out):
            if f"{path.parent.name}/{path.name}" not in names:
                path.unlink()
    with replacing(out / INDEX_NAME) as temporary, temporary.open("wb") as file:
        for piece in index:
            file.write(piece)
    write_atomic(out / CARD_NAME, format_card(manifest))
    write_atomic(out / MANIFEST_NAME, manifest.to_bytes())
