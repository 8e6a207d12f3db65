"""Training: recipes, the Lightning module that follows them, and the folds of a run."""

from sffshards.base.package_faces import attach_face

__getattr__, __dir__, __all__ = attach_face(__name__, __file__)
