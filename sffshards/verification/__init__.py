"""Verification: scores of forecasts of any origin, their intervals, calibration and comparisons, from arrays alone."""

from sffshards.base.package_faces import attach_face

__getattr__, __dir__, __all__ = attach_face(__name__, __file__)
