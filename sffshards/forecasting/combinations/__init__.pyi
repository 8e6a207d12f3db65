from .logit_regression import LogitRegression, cross_fit, fit_regression
from .run_combination import COMBINATION_NAME, Combination, combine_runs, find_combined, read_combination

__all__ = [
    "COMBINATION_NAME",
    "Combination",
    "LogitRegression",
    "combine_runs",
    "cross_fit",
    "find_combined",
    "fit_regression",
    "read_combination",
]
