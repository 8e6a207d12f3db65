"""From a build to batches: the plan of an epoch, the pipeline that follows it, and the Lightning data module."""

from sffshards.loading.classic import ClassicLoader
from sffshards.loading.datamodule import ShardDataModule
from sffshards.loading.device_views import apply_views
from sffshards.loading.loader import ClipLoader, LoaderState
from sffshards.loading.pipeline import ClipBatch, PlanSource
from sffshards.loading.plan import PADDING, plan_epoch, shuffle_blocks, shuffle_order

__all__ = [
    "PADDING",
    "ClassicLoader",
    "ClipBatch",
    "ClipLoader",
    "LoaderState",
    "PlanSource",
    "ShardDataModule",
    "apply_views",
    "plan_epoch",
    "shuffle_blocks",
    "shuffle_order",
]
