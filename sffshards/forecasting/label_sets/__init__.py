"""Runs by other labels than those they were made with: published or rebuilt ones, of one flare list or several."""

from sffshards.base.package_faces import attach_face

__getattr__, __dir__, __all__ = attach_face(__name__, __file__)
