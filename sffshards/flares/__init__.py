"""Flare lists, the map from HARPs to NOAA regions, and which region flared when."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
