"""Combinations: the forecasts of several runs as one, by a logistic regression fitted on validation."""

from sffshards.base.package_faces import attach_face

__getattr__, __dir__, __all__ = attach_face(__name__, __file__)
