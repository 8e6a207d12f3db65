"""Label lists: read, written, checked against flare lists, rebuilt, compared and split; and where a data set lies."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
