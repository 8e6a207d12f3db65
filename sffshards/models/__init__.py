"""The networks: MViTv2-S as published, a small one of its family, and their weights."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
