"""The shard format: codecs, index, manifest, and the JSON of a sample."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
