from .dask_clusters import open_cluster
from .dask_executor import DaskExecutor, WorkersEndedError
from .dask_tasks import is_wanted, send_note
from .executor import Executor, KeptOpen, chunked, default_workers
from .local_executor import IN_PROCESS, LocalExecutor
from .shared_processors import share_processors
from .worker_checks import MARK_PREFIX, NETWORK_PACKAGES

__all__ = [
    "IN_PROCESS",
    "MARK_PREFIX",
    "NETWORK_PACKAGES",
    "DaskExecutor",
    "Executor",
    "KeptOpen",
    "LocalExecutor",
    "WorkersEndedError",
    "chunked",
    "default_workers",
    "is_wanted",
    "open_cluster",
    "send_note",
    "share_processors",
]
