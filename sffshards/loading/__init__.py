"""From a build to batches: the plan of an epoch, the pipeline that follows it, and the Lightning data module."""

from sffshards.base.package_faces import attach_face

__getattr__, __dir__, __all__ = attach_face(__name__, __file__)
