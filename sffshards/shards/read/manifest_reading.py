"""Find builds, local or remote, and read their manifests."""

from __future__ import annotations

from pathlib import Path

from sffshards.base.atomic_files import storage_errors
from sffshards.base.errors import InputError, StorageError
from sffshards.base.file_reading import read_bytes
from sffshards.base.json_records import read_own_json
from sffshards.base.package_faces import accepts_text
from sffshards.domain.task import PUBLISHED_TASKS
from sffshards.shards.format import MANIFEST_NAME, Manifest, parse_manifest
from sffshards.shards.read.places import Place, RemoteFolder


@accepts_text
def read_manifest(place: Place) -> Manifest:
    """Read a build's manifest and check it against its own checksum.

    Raises
    ------
    InputError
        If there is none: the folder holds no build, or an unfinished one.
    FormatError
        If its format version is not known to this program.
    DamageError
        If it was altered, or cannot be the manifest of a build.
    StorageError
        If the system or a server refuses to read it.
    """
    if manifest := find_manifest(place):
        return manifest
    found = "no such file; an unfinished build has none"
    raise _no_build(place, expected=f"a build, with a {MANIFEST_NAME}", found=found)


@accepts_text
def find_manifest(place: Place) -> Manifest | None:
    """Read a build's manifest, or return None if there is none; otherwise raises as `read_manifest`."""
    if isinstance(place, RemoteFolder):
        from sffshards.shards.read.remote_files import RemoteStore

        data = RemoteStore(place).read(MANIFEST_NAME)
    else:
        path = place / MANIFEST_NAME
        with storage_errors(path):
            data = read_bytes(path) if path.is_file() else None
    return None if data is None else parse_manifest(data, where=place / MANIFEST_NAME)


@accepts_text
def load_builds(place: Place) -> dict[Place, Manifest]:
    """Return the manifests of a build, or of all builds directly in a folder; in a remote one, of the published tasks.

    Raises
    ------
    InputError
        If there is none.
    """
    if not isinstance(place, RemoteFolder):
        return {folder: read_manifest(folder) for folder in find_builds(place)}
    names = [task.folder for task in PUBLISHED_TASKS]
    for folders in ([place], [place / name for name in names]):
        found: dict[Place, Manifest] = {folder: manifest for folder in folders if (manifest := find_manifest(folder))}
        if found:
            return found
    expected = f"a build, or a folder with builds in {' or '.join(names)}"
    raise _no_build(place, expected=expected, found=f"no {MANIFEST_NAME} in any of them")


@accepts_text
def find_builds(place: Path) -> list[Path]:
    """Return the folder of a build, or those of all builds directly in a folder.

    Raises
    ------
    InputError
        If there is none.
    """
    if (place / MANIFEST_NAME).is_file():
        return [place]
    found = sorted(path.parent for path in place.glob(f"*/{MANIFEST_NAME}") if _may_be_ours(path))
    if not found:
        raise _no_build(place, expected="a build, or a folder of builds", found="neither")
    return found


def _may_be_ours(path: Path) -> bool:
    """Return whether a manifest may be that of a build, even a damaged one, rather than of a web page."""
    try:
        content = read_own_json(path)
    except StorageError:
        return True
    return content is None or (
        isinstance(content, dict) and bool({"format_version", "groups", "shards"} & set(content))
    )


def _no_build(place: Place, *, expected: str, found: str) -> InputError:
    fix = "write a build there with `sffshards build` and {out}, or name the folder of a build"
    if not isinstance(place, Path):
        fix = "check the address, or build first"
    found = "no such folder" if isinstance(place, Path) and not place.is_dir() else found
    return InputError(place, expected=expected, found=found, fix=fix)
