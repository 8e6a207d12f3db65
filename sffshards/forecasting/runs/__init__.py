"""Runs of trained networks: predictions tables, decisions, scores, verification and comparisons."""

from sffshards.base.package_faces import attach_face

__getattr__, __dir__, __all__ = attach_face(__name__, __file__)
