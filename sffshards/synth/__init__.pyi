from .frame_keywords import KEYWORDS_NAME
from .synthetic_dataset import SynthReport, synthesize, synthesize_for_lists
from .synthetic_flares import FLARES_NAME, HARP_MAP_NAME

__all__ = [
    "FLARES_NAME",
    "HARP_MAP_NAME",
    "KEYWORDS_NAME",
    "SynthReport",
    "synthesize",
    "synthesize_for_lists",
]
