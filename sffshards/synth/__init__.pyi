from .label_fitting import synthesize_for_lists
from .synthetic_dataset import SynthReport, synthesize

__all__ = ["SynthReport", "synthesize", "synthesize_for_lists"]
