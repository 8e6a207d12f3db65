"""Synthetic magnetograms with flares that their field explains: data to rehearse, test and teach with."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
