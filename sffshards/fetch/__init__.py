"""Downloads: the published data set, label lists and weights, and magnetograms from JSOC."""

from sffshards.base.package_faces import attach_face

__getattr__, __dir__, __all__ = attach_face(__name__, __file__)
