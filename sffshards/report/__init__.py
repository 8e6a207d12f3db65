"""The report: one page that shows how good the forecasts of runs are, and the files beside it."""

from sffshards.base.package_faces import attach_face

__getattr__, __dir__, __all__ = attach_face(__name__, __file__)
