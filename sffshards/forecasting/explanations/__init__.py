"""Explanations of the forecasts of networks: which pixels, frames and patches of a sequence they depend on."""

from sffshards.base.package_faces import attach_face

__getattr__, __dir__, __all__ = attach_face(__name__, __file__)
