"""The report: one page that shows how good the forecasts of trained runs are, and the files beside it."""

from sffshards.report.folder import check_folder
from sffshards.report.references import FlareSources, ReportSources
from sffshards.report.scoring import NamedScores
from sffshards.report.write import ReportOptions, write_report

__all__ = ["FlareSources", "NamedScores", "ReportOptions", "ReportSources", "check_folder", "write_report"]
