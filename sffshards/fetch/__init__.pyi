from .dataset_archive import RECORD_URL, fetch_dataset
from .jsoc_files import fetch_jsoc
from .jsoc_service import JSOC_URL, JsocQuery
from .published_files import KINETICS_FILES, LABELS_URL, fetch_labels, fetch_weights, weights_path

__all__ = [
    "JSOC_URL",
    "KINETICS_FILES",
    "LABELS_URL",
    "RECORD_URL",
    "JsocQuery",
    "fetch_dataset",
    "fetch_jsoc",
    "fetch_labels",
    "fetch_weights",
    "weights_path",
]
