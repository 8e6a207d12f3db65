"""What JSOC is asked, by drms: the records of a region, where their files lie, and exports of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urljoin

from sffshards.base.errors import Field, InputError, StorageError
from sffshards.base.progress import Progress
from sffshards.base.retries import Retries
from sffshards.domain.times import format_duration, parse_tai
from sffshards.images import has_no_image

T = TypeVar("T")

JSOC_URL = "http://jsoc.stanford.edu"
"""Address of JSOC, which serves HMI's data."""

_KEYWORDS = ("T_REC", "HARPNUM", "QUALITY", "CROTA2", "CTYPE1", "CTYPE2", "CDELT1", "CDELT2", "NOAA_ARS")
_NO_VALUES = frozenset({"", "nan", "NaN", "MISSING", "Invalid KeyLink"})
"""What JSOC answers where a record has no such keyword."""
EXPORT_WAIT_S = 3600.0
"""Time within which an export must be ready."""
_POLL_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class JsocQuery:
    """The magnetograms of a region in an interval of time."""

    harp: int
    """The region's HARP number; series that end in ``_nrt`` have numbers of their own."""
    start_tai: datetime
    end_tai: datetime
    """Time of the last magnetogram, inclusive."""
    cadence: timedelta
    """Time from one magnetogram to the next."""
    series: str
    """Name of the series, such as ``hmi.sharp_cea_720s``."""
    segment: str
    """Name of the image: ``magnetogram``, ``Br``, ``Bp`` or ``Bt``."""

    def __post_init__(self) -> None:
        if self.end_tai < self.start_tai:
            expected = f"a time from {self.start_tai} on"
            raise InputError(Field("end_tai"), expected=expected, found=f"{self.end_tai}", fix="exchange them")
        for name, text in (("series", self.series), ("segment", self.segment)):
            if not text.replace("_", "").replace(".", "").isalnum():
                raise InputError(
                    Field(name), expected="letters, digits, _ and .", found=repr(text[:60]), fix="check it"
                )

    @property
    def record_set(self) -> str:
        """The query as JSOC writes it."""
        start, end = (f"{time:%Y.%m.%d_%H:%M:%S}_TAI" for time in (self.start_tai, self.end_tai))
        return f"{self.series}[{self.harp}][{start}-{end}@{format_duration(self.cadence)}]"

    def file_name(self, t_rec: str) -> str:
        """Return the file name of the record of a time, as JSOC's exports have it."""
        time_tai = parse_tai(t_rec, where=f"T_REC of {self.record_set}")
        return f"{self.series}.{self.harp}.{time_tai:%Y%m%d_%H%M%S}_TAI.{self.segment}.fits"


class JsocRecord(NamedTuple):
    """A magnetogram that JSOC has."""

    name: str
    """Name of its file."""
    url: str
    """URL of its stored file; empty where JSOC has it on tape only."""
    keywords: dict[str, str]
    has_image: bool
    """Whether there is an image; JSOC has records of times without any."""


class JsocService:
    """JSOC, or a server that answers alike. A request that fails is made again by the policy of `Retries`.

    Parameters
    ----------
    server
        Address of the server.
    progress
        Told that an export is waited for.

    Raises
    ------
    InputError
        If the address is not an HTTP URL.
    """

    def __init__(self, server: str, *, progress: Progress) -> None:
        import drms

        if not server.startswith(("http://", "https://")):
            raise InputError(Field("server"), expected="http:// or https://", found=repr(server[:80]), fix="check it")
        self._server = server
        self._progress = progress
        self._client = drms.Client(
            drms.ServerConfig(
                name="sffshards",
                cgi_baseurl=f"{server}/cgi-bin/ajax/",
                cgi_jsoc_info="jsoc_info",
                cgi_jsoc_fetch="jsoc_fetch",
                cgi_check_address="checkAddress.sh",
                cgi_show_series="show_series",
                http_download_baseurl=f"{server}/",
            )
        )

    def find_records(self, query: JsocQuery) -> list[JsocRecord]:
        """Return the records of a query, their keywords, and where their files lie.

        Raises
        ------
        InputError
            If there is none, or JSOC refuses the query.
        StorageError
            If the service fails for long.
        """
        names = ",".join(_KEYWORDS)
        keys, segments = self._ask(
            lambda: self._client.query(query.record_set, key=names, seg=query.segment, convert_numeric=False)
        )
        if len(keys) == 0 or len(keys) != len(segments):
            raise InputError(
                query.record_set,
                expected="records of it at JSOC",
                found="none",
                fix="check the HARP, the times and the series; a region is observed for two weeks at most",
            )
        places = segments.to_dict("records")
        return [self._record(query, *row) for row in zip(keys.to_dict("records"), places, strict=True)]

    def _record(self, query: JsocQuery, row: Mapping[str, object], place: Mapping[str, object]) -> JsocRecord:
        keywords = {name: str(row[name]) for name in _KEYWORDS if str(row.get(name, "")) not in _NO_VALUES}
        path = str(place.get(query.segment, ""))
        url = urljoin(f"{self._server}/", path.lstrip("/")) if path.startswith("/") else ""
        has_image = not has_no_image(keywords.get("QUALITY"), where=f"QUALITY of {query.record_set}")
        return JsocRecord(query.file_name(keywords.get("T_REC", "")), url, keywords, has_image)

    def request_export(self, record_set: str, email: str) -> Any:
        """Ask for an export; raises as `find_records`."""
        return self._ask(
            lambda: self._client.export(record_set, method="url", protocol="fits", email=email, filenamefmt=False)
        )

    def find_export(self, request_id: str) -> Any:
        """Return an export that was asked for before, when it is ready; None if JSOC has removed it, as it does soon.

        Raises
        ------
        StorageError
            If the service fails for long.
        """
        try:
            return self._ask(lambda: self._await(self._client.export_from_id(request_id)))
        except InputError:
            return None

    def export_urls(self, query: JsocQuery, export: Any) -> dict[str, str]:
        """Return the URLs of an export by file name, when it is ready; raises as `find_records`."""
        rows = self._ask(lambda: self._await(export)).urls.to_dict("records")
        # A record is named series[HARP][T_REC]{segment}.
        stamps = [str(row["record"]).rpartition("][")[2].partition("]")[0] for row in rows]
        return {query.file_name(stamp): str(row["url"]) for stamp, row in zip(stamps, rows, strict=True)}

    def _await(self, export: Any) -> Any:
        self._progress.note(f"JSOC export {export.id}: waiting until it is ready")
        if not export.wait(timeout=EXPORT_WAIT_S, sleep=_POLL_S):
            raise self._failure(f"export {export.id} not ready in {EXPORT_WAIT_S:g} s")
        return export

    def _ask(self, request: Callable[[], T]) -> T:
        """Make a request of drms. A refusal counts only if it comes twice: JSOC says no when it is busy, too."""
        from drms.exceptions import DrmsError

        refusals = []

        def ask() -> T:
            try:
                return request()
            except (DrmsError, ValueError) as error:  # a status that is no, or no JSON
                refusals.append(isinstance(error, DrmsError))
                reason = f"JSOC says: {str(error)[:150]}"
                if refusals[-1] and len(refusals) > 1:
                    fix = "check the query, and {email}"
                    raise InputError(self._server, expected="an answer", found=reason, fix=fix) from None
                raise ConnectionError(reason) from None

        return Retries(self._failure).run(ask)

    def _failure(self, reason: str) -> StorageError:
        return StorageError(
            self._server,
            expected="JSOC to answer",
            found=reason,
            fix=f"run the same command again later, which resumes; or look at {JSOC_URL}",
        )
