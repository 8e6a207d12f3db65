from .forecast_tables import ForecastTable, UnusedForecast, UnusedRow, read_forecast_table
from .imported_runs import ImportOptions, import_run
from .label_joining import JoinedForecasts, describe_joined, join_labels
from .table_scores import TableScores, describe_table_scores, find_climatology, score_table

__all__ = [
    "ForecastTable",
    "ImportOptions",
    "JoinedForecasts",
    "TableScores",
    "UnusedForecast",
    "UnusedRow",
    "describe_joined",
    "describe_table_scores",
    "find_climatology",
    "import_run",
    "join_labels",
    "read_forecast_table",
    "score_table",
]
