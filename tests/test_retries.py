"""The policy for requests over a network."""

from __future__ import annotations

import socket
import ssl
import threading
import urllib.error

import pytest

from sffshards.base import retries
from sffshards.base.errors import DamageError, StorageError
from sffshards.base.retries import Retries


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE_S", 0.001)


def refuse(reason: str) -> StorageError:
    return StorageError("the server", expected="an answer", found=reason, fix="wait")


def http_error(status: int) -> urllib.error.HTTPError:
    return urllib.error.HTTPError("http://host", status, "so it is", None, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "patient", "num_tries", "reason"),
    [
        (http_error(503), False, 8, r"HTTP status 503 \(so it is\) \(in each of 8 tries\)"),
        (http_error(404), False, 1, r"HTTP status 404 \(so it is\) \(at the first try\)"),
        (ConnectionResetError("dropped"), False, 8, "dropped"),
        (TimeoutError(), False, 8, "no answer within 60 s"),
        (ConnectionRefusedError("refused"), False, 3, "refused"),
        (ConnectionRefusedError("refused"), True, 8, "refused"),
        (urllib.error.URLError(socket.gaierror(-2, "Name not known")), False, 3, "no such server .Name not known"),
        (urllib.error.URLError(ssl.SSLCertVerificationError("expired")), False, 1, "expired"),
        (PermissionError("no credentials"), True, 1, "no credentials"),
    ],
)
def test_a_request_is_made_again_while_there_is_hope(
    error: Exception, patient: bool, num_tries: int, reason: str
) -> None:
    made = []

    def request() -> None:
        made.append(1)
        raise error

    with pytest.raises(StorageError, match=reason):
        Retries(refuse, patient=patient).run(request)
    assert len(made) == num_tries


@pytest.mark.parametrize("kind", [FileNotFoundError, DamageError])
def test_what_is_known_for_sure_is_not_asked_again(kind: type[Exception]) -> None:
    made = []

    def request() -> None:
        made.append(1)
        raise DamageError("x", expected="y", found="z", fix="w") if kind is DamageError else kind("x")

    with pytest.raises(kind):
        Retries(refuse).run(request)
    assert len(made) == 1


def test_a_transfer_that_gets_on_is_not_given_up() -> None:
    tries, ends = Retries(refuse), iter(range(1, 31))

    def request() -> str:
        end = next(ends)
        tries.reach(end)
        if end < 30:
            raise ConnectionError("dropped")
        return "whole"

    assert tries.run(request) == "whole"


def test_a_request_that_is_stopped_does_not_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE_S", 1000.0)
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()

    def request() -> None:
        raise ConnectionError("dropped")

    with pytest.raises(StorageError, match="nobody waits"):
        Retries(refuse, stop=stop).run(request)
