from .report_baselines import ReportSources
from .report_content import ReportOptions
from .report_folder import check_folder
from .report_writing import write_report
from .result_scores import NamedScores, score_named

__all__ = ["NamedScores", "ReportOptions", "ReportSources", "check_folder", "score_named", "write_report"]
