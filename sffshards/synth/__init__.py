"""Synthetic magnetograms with flares that their field explains: data to rehearse, test and teach with."""

from sffshards.base.package_faces import attach_face

__getattr__, __dir__, __all__ = attach_face(__name__, __file__)
