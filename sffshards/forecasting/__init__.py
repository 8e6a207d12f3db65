"""Runs: their predictions, scores and decisions; baselines; and forecasts of new data."""
