"""Verification: scores of forecasts of any origin, their intervals, calibration and comparisons, from arrays alone."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
