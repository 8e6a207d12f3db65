"""Threads of this process for numerical work, one per processor, that do not start further threads."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from sffshards.executors.executor import default_workers

__all__ = ["share_processors"]

_MAX_THREADS = 8
"""Maximum number of threads, since each has arrays of its own in memory."""


@contextmanager
def share_processors() -> Iterator[ThreadPoolExecutor]:
    """Yield threads for calls that spend their time in numpy, scipy or scikit-learn.

    Each call gets one processor. If BLAS and OpenMP divided it among threads of their own, these would wait for one
    another in a loop: twice the processor time for small matrices, and many times the duration where other programs
    run.
    """
    from threadpoolctl import threadpool_limits

    # The limit of OpenMP holds for the thread that sets it, that of BLAS for all threads.
    of_thread = partial(threadpool_limits, 1, user_api="openmp")
    num_threads = min(default_workers(), _MAX_THREADS)
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(num_threads, initializer=of_thread) as pool:
        yield pool
