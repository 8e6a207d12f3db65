from .demo_run import run_demo
from .reproduction import Experiment, ResultRow, reproduce, tabulate

__all__ = ["Experiment", "ResultRow", "reproduce", "run_demo", "tabulate"]
