from .explanation_figures import draw_explanation
from .report_content import ReportOptions
from .report_folder import check_folder
from .report_writing import write_report
from .result_scores import NamedScores, score_named
from .result_tables import score_table
from .score_figures import draw_forecasts
from .table_formats import Table, format_latex, format_markdown, format_text

__all__ = [
    "NamedScores",
    "ReportOptions",
    "Table",
    "check_folder",
    "draw_explanation",
    "draw_forecasts",
    "format_latex",
    "format_markdown",
    "format_text",
    "score_named",
    "score_table",
    "write_report",
]
