from .batch_pipeline import PlanSource
from .clip_batches import ClipBatch, apply_views
from .clip_loader import ClipLoader
from .datamodule import ShardDataModule
from .loading_options import Engine, LoadingOptions, Shuffle, ViewSource

__all__ = [
    "ClipBatch",
    "ClipLoader",
    "Engine",
    "LoadingOptions",
    "PlanSource",
    "ShardDataModule",
    "Shuffle",
    "ViewSource",
    "apply_views",
]
