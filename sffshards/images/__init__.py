"""Images to frames: decoding, the frame store, and the ingestion of FITS files and movies."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
