"""The demo, the published experiment, and folds trained side by side."""

from typing import TYPE_CHECKING

from sffshards.base.lazy_imports import import_on_demand

if TYPE_CHECKING:
    from sffshards.experiments.demo_run import run_demo
    from sffshards.experiments.reproduction import ResultRow, reproduce, tabulate

__all__ = ["ResultRow", "reproduce", "run_demo", "tabulate"]

__getattr__ = import_on_demand(
    __name__,
    {
        "demo_run": ("run_demo",),
        "reproduction": ("ResultRow", "reproduce", "tabulate"),
    },
)
