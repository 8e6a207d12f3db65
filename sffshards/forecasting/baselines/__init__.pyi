from .baseline_forecasts import forecast_baselines, forecast_fitted
from .baseline_runs import check_runs, write_build_baselines, write_fitted, write_references
from .baseline_samples import BaselineSet, Samples, join_samples, read_samples, rebuild_labels
from .baseline_scores import Baseline, BaselineForecasts, BaselineName, describe_baselines, score_baselines
from .fitted_folds import FittedFold, fit_recipes
from .fitted_models import FORECASTER_NAME, TabularForecaster, encode_forecaster, read_forecaster
from .model_fitting import RECIPES, Recipe
from .skill_comparison import LEAST_TSS, SkillRow, compare_skill, describe_skill

__all__ = [
    "FORECASTER_NAME",
    "LEAST_TSS",
    "RECIPES",
    "Baseline",
    "BaselineForecasts",
    "BaselineName",
    "BaselineSet",
    "FittedFold",
    "Recipe",
    "Samples",
    "SkillRow",
    "TabularForecaster",
    "check_runs",
    "compare_skill",
    "describe_baselines",
    "describe_skill",
    "encode_forecaster",
    "fit_recipes",
    "forecast_baselines",
    "forecast_fitted",
    "join_samples",
    "read_forecaster",
    "read_samples",
    "rebuild_labels",
    "score_baselines",
    "write_build_baselines",
    "write_fitted",
    "write_references",
]
