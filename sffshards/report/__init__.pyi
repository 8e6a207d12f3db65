from .report_baselines import ReportSources
from .report_folder import check_folder
from .report_writing import ReportOptions, write_report

__all__ = ["ReportOptions", "ReportSources", "check_folder", "write_report"]
