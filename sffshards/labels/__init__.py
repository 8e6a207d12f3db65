"""Label lists: read, written, checked against flare lists, rebuilt, compared and split; and where a data set lies."""

from sffshards.base.package_faces import attach_face

__getattr__, __dir__, __all__ = attach_face(__name__, __file__)
