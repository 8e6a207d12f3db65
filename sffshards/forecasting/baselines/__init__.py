"""Baselines: forecasts without a network, scored on the test set."""

from sffshards.base.package_faces import attach_face

__getattr__, __dir__, __all__ = attach_face(__name__, __file__)
