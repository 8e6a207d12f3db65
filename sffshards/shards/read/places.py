"""The place of a build: a folder of this machine, or a URL of a kind that this program knows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sffshards.base.atomic_files import user_cache
from sffshards.base.errors import InputError
from sffshards.base.package_faces import accepts_text
from sffshards.shards.read.remote_files import SCHEMES

_LOOKS_LIKE_URL = re.compile(r"pipe:|[A-Za-z][A-Za-z0-9+.-]*://|.*::")


@accepts_text
@dataclass(frozen=True, kw_only=True, slots=True)
class CacheOptions:
    """Options of the cache of remote shards."""

    folder: Path
    """Folder that the shards are kept in."""
    limit_bytes: int
    """Maximum size of the cache."""


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """A folder behind a URL."""

    url: str
    """URL of the folder, without a slash at its end."""
    cache: CacheOptions

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> RemoteFolder:
        return RemoteFolder(f"{self.url}/{name}", self.cache)


Place = Path | RemoteFolder
"""A folder, local or remote."""


def parse_place(text: str, *, cache: CacheOptions) -> Place:
    """Return the folder that a path or a URL names.

    Parameters
    ----------
    text
        Path or URL, such as ``shards/48h``, ``s3://bucket/shards/48h`` or ``file:///scratch/shards``.
    cache
        Options of the cache, if the folder is remote.

    Raises
    ------
    InputError
        If it is a URL of an unknown kind, or has parts that no folder's URL has.

    Examples
    --------
    >>> cache = CacheOptions(folder=default_cache_folder(), limit_bytes=20_000_000_000)
    >>> parse_place("file:///scratch/shards", cache=cache).as_posix()
    '/scratch/shards'
    >>> str(parse_place("s3://bucket/shards/48h/", cache=cache))
    's3://bucket/shards/48h'
    """
    if not _LOOKS_LIKE_URL.match(text):
        return Path(text)
    scheme = text.partition("://")[0].lower() if "::" not in text else ""
    if scheme == "file":
        return Path(unquote(urlsplit(text).path))
    if scheme not in SCHEMES:
        raise InputError(
            text,
            expected=f"a folder, or a URL that begins with {', '.join(f'{name}://' for name in SCHEMES)}",
            found="another kind of URL",
            fix="name one of these, or copy the build to a folder here",
        )
    try:
        parts = urlsplit(text)
    except ValueError:  # such as a bracket that is not closed
        parts = urlsplit("")
    if not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc or ".." in parts.path.split("/"):
        raise InputError(
            re.sub(r"([?#]).*", r"\1...", re.sub(r"//[^/]*@", "//...@", text)),
            expected=f"{scheme}://HOST-OR-BUCKET/FOLDER",
            found="a URL without a host, or with a user's name, '..', '?' or '#' in it",
            fix="leave these out; credentials belong into the environment or the service's own file",
        )
    return RemoteFolder(text.rstrip("/"), cache)


def default_cache_folder() -> Path:
    """Return the folder for shards in the user's cache."""
    return user_cache() / "sffshards" / "shards"
