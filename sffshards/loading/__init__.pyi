from .batch_pipeline import PlanSource
from .clip_batches import ClipBatch, ClipChanges, render_clips
from .clip_loader import ClipLoader
from .datamodule import ShardDataModule
from .loading_options import Engine, LoadingOptions, Sampler, Shuffle, ViewSource

__all__ = [
    "ClipBatch",
    "ClipChanges",
    "ClipLoader",
    "Engine",
    "LoadingOptions",
    "PlanSource",
    "Sampler",
    "ShardDataModule",
    "Shuffle",
    "ViewSource",
    "render_clips",
]
