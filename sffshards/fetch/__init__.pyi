from .dataset_archive import RECORD_URL, fetch_dataset
from .jsoc_files import fetch_jsoc
from .jsoc_service import JSOC_URL, JsocQuery
from .published_files import LABELS_URL, WEIGHTS_URL, fetch_labels, fetch_weights, weights_path

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
