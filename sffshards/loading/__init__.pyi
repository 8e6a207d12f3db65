from .batch_pipeline import ClipBatch, PlanSource
from .clip_loader import ClipLoader
from .datamodule import ShardDataModule
from .device_views import apply_views
from .loading_options import Engine, Shuffle, ViewSource

__all__ = ["ClipBatch", "ClipLoader", "Engine", "PlanSource", "ShardDataModule", "Shuffle", "ViewSource", "apply_views"]
