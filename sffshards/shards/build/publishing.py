"""Copy a finished build to a remote folder: shards by workers, the manifest last and by this process alone."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from sffshards.base.errors import DamageError, FormatError, InputError, StorageError
from sffshards.base.json_records import read_own_record, to_plain, write_record
from sffshards.base.progress import Progress
from sffshards.executors import IN_PROCESS, Executor
from sffshards.shards.build.build_folder import PUBLISHED_NAME, refuse_other
from sffshards.shards.format import CARD_NAME, MANIFEST_NAME, BuildInputs, Manifest, Shard, format_card
from sffshards.shards.read import (
    READ_ONLY,
    RemoteFile,
    RemoteFolder,
    RemoteStore,
    check_shard,
    find_manifest,
    read_manifest,
)

_PROBE_NAME = ".write-test"
_RECORD_SECONDS = 5.0
"""Time between two writes of the record of copied shards, which names all of them."""


def check_target(target: RemoteFolder, inputs: BuildInputs, *, force: bool, early: bool) -> Manifest | None:
    """Check whether a build may be copied to a remote folder.

    Parameters
    ----------
    target
        The remote folder.
    inputs
        Inputs of the build.
    force
        Whether another build may be replaced.
    early
        Whether the build is not finished yet, so that not all of its inputs are known.

    Returns
    -------
    Manifest or None
        Manifest of the build that is there, if any.

    Raises
    ------
    InputError
        If nothing can be written to such a URL.
    ConflictError
        If another build is there, and not ``force``.
    StorageError
        If ``early`` and nothing can be written there.
    """
    scheme = target.url.partition("://")[0]
    if scheme in READ_ONLY:
        raise InputError(
            target,
            expected="a place that can be written to, such as s3://bucket/folder",
            found=f"{scheme}://, which can only be read",
            fix="build into a folder, and copy it to where the server finds it",
        )
    try:
        there = find_manifest(target)
    except (DamageError, FormatError):
        if not force:
            raise
        return None
    if there is not None and not force:
        refuse_other(target, to_plain(there.inputs), inputs, early=early)
    if early:  # hours later would be late to find that nothing can be written
        store = RemoteStore(target)
        store.write(_PROBE_NAME, b"")
        store.remove(_PROBE_NAME)
    return there


def publish_build(
    folder: Path, target: RemoteFolder, *, force: bool, executor: Executor = IN_PROCESS, progress: Progress
) -> int:
    """Copy a build to a remote folder; a copy that was stopped resumes.

    Parameters
    ----------
    folder
        Folder of the build.
    target
        The remote folder. Until everything is there it has no manifest, so that nobody reads from it.
    force
        Whether another build may be replaced.
    executor
        Where shards are checked and copied, each as a whole.
    progress
        Shows the number of shards.

    Returns
    -------
    int
        Number of shards that were copied; those that are there from an earlier copy are not copied again.

    Raises
    ------
    InputError, ConflictError
        As `check_target`.
    DamageError
        If a shard of the build is not as it was written.
    StorageError
        If the place cannot be written to.
    """
    manifest = read_manifest(folder)
    store = RemoteStore(target)
    there = check_target(target, manifest.inputs, force=force, early=False)
    copies = _Copies(folder / PUBLISHED_NAME, target)
    missing = [shard for shard in manifest.shards if not copies.has(shard, store)]
    if missing or there is None or there.sha256 != manifest.sha256:
        store.remove(MANIFEST_NAME)
    command = secrets.token_hex(8)
    if missing:
        executor.check_places(reads=[folder], writes=[])
    with progress.task(f"Copy shards to {target}", len(missing)) as advance, copies.recording():
        tasks = (_Copy(folder=folder, target=target, shard=shard, command=command) for shard in missing)
        for shard, written in zip(missing, executor.run(_copy, tasks), strict=True):
            copies.add(shard, written)
            advance(1)
    _copy(_Copy(folder=folder, target=target, shard=manifest.index_file, command=command))
    store.write(CARD_NAME, format_card(manifest))
    names = {shard.name for shard in manifest.shards}
    for shard in there.shards if there else ():  # of the build that was there before
        if shard.name not in names:
            store.remove(shard.name)
    store.write(MANIFEST_NAME, manifest.to_bytes())
    return len(missing)


@dataclass(frozen=True, slots=True)
class _CopyRecord:
    places: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)
    """SHA-256 and remote version of every copied shard, by URL and name."""


class _Copies:
    """The shards that were copied to a place, as `PUBLISHED_NAME` records them."""

    def __init__(self, path: Path, target: RemoteFolder) -> None:
        self._path = path
        self._record = read_own_record(path, _CopyRecord) or _CopyRecord()
        self._shards = self._record.places.setdefault(target.url, {})
        self._written = time.monotonic()
        self._has_more = False

    def has(self, shard: Shard, store: RemoteStore) -> bool:
        """Return whether the file that is there now is the one that a shard was copied to."""
        sha256, version = self._shards.get(shard.name, ("", ""))
        if sha256 != shard.sha256:
            return False
        found = store.look(shard.name)
        return found is not None and (found.size_bytes, found.version) == (shard.size_bytes, version)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Write the record when the block ends, however it ends, if a shard was copied in it."""
        try:
            yield
        finally:
            if self._has_more:
                write_record(self._path, self._record)

    def add(self, shard: Shard, written: RemoteFile) -> None:
        """Record a shard that was copied, now or a few seconds later."""
        self._shards[shard.name] = (shard.sha256, written.version)
        self._has_more = True
        if time.monotonic() - self._written > _RECORD_SECONDS:
            write_record(self._path, self._record)
            self._written = time.monotonic()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Copy:
    """A shard to copy."""

    folder: Path
    target: RemoteFolder
    shard: Shard
    command: str
    """A text for which a process keeps the connections open."""

    def __str__(self) -> str:
        return f"{self.target}/{self.shard.name}"


def _copy(copy: _Copy) -> RemoteFile:
    """Check a shard here, copy it, and return what the server states of it."""
    store = _connect(copy.target, copy.command)
    check_shard(copy.folder, copy.shard)
    store.upload(copy.shard.name, str(copy.folder / copy.shard.name))
    return _require(store, copy.shard)


@lru_cache(maxsize=1)
def _connect(target: RemoteFolder, command: str) -> RemoteStore:  # noqa: ARG001  of another command, connections may differ
    return RemoteStore(target)


def _require(store: RemoteStore, shard: Shard) -> RemoteFile:
    """Return what the server states of a file that was sent; raises `StorageError` if it is not as large."""
    found = store.look(shard.name)
    if found is None or found.size_bytes != shard.size_bytes:
        raise StorageError(
            store.folder / shard.name,
            expected=f"{shard.size_bytes} bytes, as they were sent",
            found="no such file" if found is None else f"{found.size_bytes} bytes",
            fix="run the same command again without {force}, which resumes",
        )
    return found
