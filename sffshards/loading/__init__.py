"""From a build to batches: the plan of an epoch, the pipeline that follows it, and the Lightning data module."""

from typing import TYPE_CHECKING

from sffshards.base.lazy_imports import import_on_demand

if TYPE_CHECKING:
    from sffshards.loading.batch_pipeline import ClipBatch, PlanSource
    from sffshards.loading.clip_loader import ClipLoader
    from sffshards.loading.datamodule import ShardDataModule
    from sffshards.loading.device_views import apply_views
    from sffshards.loading.loading_options import Engine, Shuffle, ViewSource

__all__ = ["ClipBatch", "ClipLoader", "Engine", "PlanSource", "ShardDataModule", "Shuffle", "ViewSource", "apply_views"]

__getattr__ = import_on_demand(
    __name__,
    {
        "batch_pipeline": ("ClipBatch", "PlanSource"),
        "clip_loader": ("ClipLoader",),
        "datamodule": ("ShardDataModule",),
        "device_views": ("apply_views",),
        "loading_options": ("Engine", "Shuffle", "ViewSource"),
    },
)
