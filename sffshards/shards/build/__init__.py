"""Building shards: plan, write what is missing, then index, card and manifest."""

from sffshards.base.package_faces import attach_face

__getattr__, __dir__, __all__ = attach_face(__name__, __file__)
