"""Downloads: the published data set, label lists and weights, and magnetograms from JSOC."""

from typing import TYPE_CHECKING

from sffshards.base.lazy_imports import import_on_demand

if TYPE_CHECKING:
    from sffshards.fetch.dataset_archive import RECORD_URL, fetch_dataset
    from sffshards.fetch.jsoc import JSOC_URL, JsocQuery, fetch_jsoc
    from sffshards.fetch.published_files import LABELS_URL, WEIGHTS_URL, fetch_labels, fetch_weights, weights_path

__all__ = [
    "JSOC_URL",
    "LABELS_URL",
    "RECORD_URL",
    "WEIGHTS_URL",
    "JsocQuery",
    "fetch_dataset",
    "fetch_jsoc",
    "fetch_labels",
    "fetch_weights",
    "weights_path",
]

__getattr__ = import_on_demand(
    __name__,
    {
        "dataset_archive": ("RECORD_URL", "fetch_dataset"),
        "jsoc": ("JSOC_URL", "JsocQuery", "fetch_jsoc"),
        "published_files": ("LABELS_URL", "WEIGHTS_URL", "fetch_labels", "fetch_weights", "weights_path"),
    },
)
