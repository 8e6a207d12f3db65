"""From a build to batches: the plan of an epoch, the pipeline that follows it, and the Lightning data module."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
