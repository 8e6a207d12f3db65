"""Sequences as numbers: SHARP keywords of their frames, and the flares of their region so far."""

from sffshards.base.package_faces import attach_face

__getattr__, __dir__, __all__ = attach_face(__name__, __file__)
