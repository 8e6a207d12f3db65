"""Downloads: the published data set, label lists and weights, and magnetograms from JSOC."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
