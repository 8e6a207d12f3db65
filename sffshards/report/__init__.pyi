from .report_baselines import ReportSources
from .report_folder import check_folder
from .report_writing import ReportOptions, write_report
from .result_scores import NamedScores

__all__ = ["NamedScores", "ReportOptions", "ReportSources", "check_folder", "write_report"]
