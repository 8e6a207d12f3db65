"""The report: one page that shows how good the forecasts of runs are, and the files beside it."""

from typing import TYPE_CHECKING

from sffshards.base.lazy_imports import import_on_demand

if TYPE_CHECKING:
    from sffshards.report.report_baselines import FlareSources, ReportSources
    from sffshards.report.report_folder import check_folder
    from sffshards.report.report_writing import ReportOptions, write_report

__all__ = ["FlareSources", "ReportOptions", "ReportSources", "check_folder", "write_report"]

__getattr__ = import_on_demand(
    __name__,
    {
        "report_baselines": ("FlareSources", "ReportSources"),
        "report_folder": ("check_folder",),
        "report_writing": ("ReportOptions", "write_report"),
    },
)
