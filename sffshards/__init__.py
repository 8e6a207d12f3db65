"""Solar-flare forecasting from sequences of SDO/HMI magnetograms.

The package turns label lists and magnetogram images into WebDataset shards, trains networks on them, and verifies their
forecasts. Importing it is cheap: its names, listed in ``__init__.pyi``, are imported on first use, and torch,
Lightning, decord and the like where they are used.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
