"""Synthetic magnetograms with flares that their field explains: data to rehearse, test and teach with."""

from __future__ import annotations

from sffshards.synth.dataset import SynthReport, synthesize
from sffshards.synth.draw import draw_frame
from sffshards.synth.flares import Flare, draw_flares, flare_rate_per_hour, label_frames
from sffshards.synth.given import synthesize_for_lists
from sffshards.synth.region import Course, Region, make_region
from sffshards.synth.timeline import MadeRegion, plan_parts

__all__ = [
    "Course",
    "Flare",
    "MadeRegion",
    "Region",
    "SynthReport",
    "draw_flares",
    "draw_frame",
    "flare_rate_per_hour",
    "label_frames",
    "make_region",
    "plan_parts",
    "synthesize",
    "synthesize_for_lists",
]
