"""Published files and JSOC's magnetograms, fetched: resumed where a download broke, verified, and recorded."""

from __future__ import annotations

from sffshards.fetch.dataset import DatasetReport, fetch_dataset
from sffshards.fetch.download import Checksum, download
from sffshards.fetch.extract import extract_dataset
from sffshards.fetch.jsoc import JsocQuery, JsocReport, fetch_jsoc
from sffshards.fetch.published import fetch_labels, fetch_weights, weights_path

__all__ = [
    "Checksum",
    "DatasetReport",
    "JsocQuery",
    "JsocReport",
    "download",
    "extract_dataset",
    "fetch_dataset",
    "fetch_jsoc",
    "fetch_labels",
    "fetch_weights",
    "weights_path",
]
