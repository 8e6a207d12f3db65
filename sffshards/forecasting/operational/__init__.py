"""Forecasts of sequences whose outcome is unknown, for regions and the full disk, and their files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
