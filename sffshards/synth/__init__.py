"""Synthetic magnetograms with flares that their field explains: data to rehearse, test and teach with."""

from typing import TYPE_CHECKING

from sffshards.base.lazy_imports import import_on_demand

if TYPE_CHECKING:
    from sffshards.synth.label_fitting import synthesize_for_lists
    from sffshards.synth.synthetic_dataset import SynthReport, synthesize

__all__ = ["SynthReport", "synthesize", "synthesize_for_lists"]

__getattr__ = import_on_demand(
    __name__,
    {
        "label_fitting": ("synthesize_for_lists",),
        "synthetic_dataset": ("SynthReport", "synthesize"),
    },
)
