"""Solar-flare forecasting from sequences of SDO/HMI magnetograms, data preparation first.

The package turns the published label lists and magnetogram images into WebDataset shards and trains and scores MViTv2
models on them. Importing it is cheap: torch, Lightning, decord and the like are imported where they are used.
"""

__version__ = "0.1.0"
