"""Images to frames: decoding, the frame store, and the ingestion of FITS files and movies."""

from sffshards.base.package_faces import attach_face

__getattr__, __dir__, __all__ = attach_face(__name__, __file__)
