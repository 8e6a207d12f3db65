"""Flare lists, the map from HARPs to NOAA regions, and which region flared when."""

from sffshards.base.package_faces import attach_face

__getattr__, __dir__, __all__ = attach_face(__name__, __file__)
