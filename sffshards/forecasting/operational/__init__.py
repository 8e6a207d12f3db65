"""Forecasts of sequences whose outcome is unknown, for regions and the full disk, and their files."""

from sffshards.base.package_faces import attach_face

__getattr__, __dir__, __all__ = attach_face(__name__, __file__)
