"""A JSOC that answers as the real one does: record lists and exports in JSON, files in FITS."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from urllib.parse import parse_qs

from tests.fits_files import make_fits
from tests.web import FaultyServer

__all__ = ["FakeJsoc", "serve_jsoc"]

_QUERY = re.compile(
    r"([\w.]+)\[(\d+)\]\[([\d._:]+)_TAI-([\d._:]+)_TAI@(\d+)([mhd])\](\[\? QUALITY >= 0 \?\])?(?:\{(\w+)\})?"
)
_BARE = ("T_REC", "HARPNUM", "QUALITY", "CROTA2", "CTYPE1", "CDELT1", "CDELT2")
"""Keywords that the stored files lack."""


class FakeJsoc(FaultyServer):
    """Holds one region, seen from its first to its last time, every 12 minutes.

    Attributes
    ----------
    on_tape
        Times (yyyymmdd_hhmmss) of records whose files are not on disk.
    without_image
        Times of records without an image; an export that includes one is refused.
    num_polls
        Times that an export's status is asked before it is ready.
    exports
        Record sets that were asked for, by request id.
    """

    def __init__(self, harp: int, first: datetime, last: datetime) -> None:
        super().__init__()
        self.harp, self.first, self.last = harp, first, last
        self.on_tape: set[str] = set()
        self.without_image: set[str] = set()
        self.num_polls = 2
        self.exports: dict[str, str] = {}
        self.emails = {"someone@example.org"}

    def answer_other(self, path, query):
        """Answer the programs of JSOC, and its stored files."""
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        if path == "/cgi-bin/ajax/jsoc_info":
            return json.dumps(self.list_records(asked)).encode("latin1")
        if path == "/cgi-bin/ajax/jsoc_fetch":
            return json.dumps(self.export(asked)).encode("latin1")
        if match := re.fullmatch(r"/SUM\d+/D\d+/S00000/(\d{8}_\d{6})\.(\w+)\.fits", path):
            return make_fits(self.harp, match[1], drop=_BARE)
        if match := re.fullmatch(r"/SUM9/export/[\w.]+\.(\d{8}_\d{6})_TAI\.(\w+)\.fits", path):
            return make_fits(self.harp, match[1])
        return None

    def records(self, record_set):
        """Give series, segment and times of a record set."""
        match = _QUERY.fullmatch(record_set)
        if match is None:
            return None
        unit = {"m": 1, "h": 60, "d": 1440}[match[6]]
        start, end = (datetime.strptime(match[k], "%Y.%m.%d_%H:%M:%S") for k in (3, 4))
        step = timedelta(minutes=int(match[5]) * unit)
        times = [start + k * step for k in range((end - start) // step + 1)]
        seen = [t for t in times if self.first <= t <= self.last and int(match[2]) == self.harp]
        if match[7]:
            seen = [t for t in seen if f"{t:%Y%m%d_%H%M%S}" not in self.without_image]
        return match[1], match[8], seen

    def list_records(self, asked):
        """Answer op=rs_list."""
        found = self.records(asked.get("ds", ""))
        if asked.get("op") != "rs_list" or found is None:
            return {"status": 1, "error": "bad record-set query", "count": 0}
        _, _, times = found
        values = {
            "T_REC": [f"{t:%Y.%m.%d_%H:%M:%S}_TAI" for t in times],
            "HARPNUM": [str(self.harp)] * len(times),
            "QUALITY": ["0xc0000000" if f"{t:%Y%m%d_%H%M%S}" in self.without_image else "0x00000000" for t in times],
            "CROTA2": ["0.000000"] * len(times),
            "CTYPE1": ["CRLN-CEA"] * len(times),
        }
        keys = asked["key"].split(",")
        stamps = [f"{t:%Y%m%d_%H%M%S}" for t in times]
        segment = asked["seg"]
        paths = [
            "NoDataDirectory"
            if stamp in self.on_tape | self.without_image
            else f"/SUM{k + 1}/D{1000 + k}/S00000/{stamp}.{segment}.fits"
            for k, stamp in enumerate(stamps)
        ]
        if not times:
            return {"status": 0, "count": 0}
        return {
            "keywords": [{"name": key, "values": values.get(key, ["MISSING"] * len(times))} for key in keys],
            "segments": [{"name": segment, "values": paths}],
            "links": [],
            "count": len(times),
            "runtime": 0.1,
            "status": 0,
        }

    def export(self, asked):
        """Answer op=exp_request and op=exp_status."""
        if asked["op"] == "exp_request":
            if asked["notify"] not in self.emails:
                return {"status": 4, "error": "Email address is not valid or not registered."}
            found = self.records(asked["ds"])
            if found is None or any(f"{t:%Y%m%d_%H%M%S}" in self.without_image for t in found[2]):
                return {"status": 4, "error": "a record has no files"}
            request = f"JSOC_20260101_{len(self.exports) + 1:03d}"
            self.exports[request] = asked["ds"]
            return {"status": 2, "requestid": request, "method": "url", "protocol": "fits", "wait": 0}
        request = asked["requestid"]
        if request not in self.exports:
            return {"status": 5, "requestid": request, "error": "no such request"}
        if self.num_polls > 0:
            self.num_polls -= 1
            return {"status": 1, "requestid": request, "wait": 0}
        series, segment, times = self.records(self.exports[request])
        data = [
            {
                "record": f"{series}[{self.harp}][{t:%Y.%m.%d_%H:%M:%S}_TAI]{{{segment}}}",
                "filename": f"{series}.{self.harp}.{t:%Y%m%d_%H%M%S}_TAI.{segment}.fits",
            }
            for t in times
        ]
        return {
            "status": 0,
            "requestid": request,
            "method": "url",
            "protocol": "fits",
            "dir": "/SUM9/export",
            "count": len(data),
            "data": data,
            "tarfile": "",
            "keywords": "",
        }


@contextmanager
def serve_jsoc(*args) -> Iterator[FakeJsoc]:
    """Run one while the block runs."""
    server = FakeJsoc(*args)
    try:
        yield server
    finally:
        server.close()
