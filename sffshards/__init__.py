"""Solar-flare forecasting from sequences of SDO/HMI magnetograms.

The package turns label lists and magnetogram images into WebDataset shards, trains networks on them, and verifies their
forecasts. Importing it is cheap: its names, listed in ``__init__.pyi``, are imported on first use, and torch,
Lightning, decord and the like where they are used.
"""

from sffshards.base.package_faces import attach_face

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = attach_face(__name__, __file__)
