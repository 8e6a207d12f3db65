from .demo_run import run_demo
from .reproduction import Experiment, ResultRow, check_experiment, reproduce, tabulate

__all__ = ["Experiment", "ResultRow", "check_experiment", "reproduce", "run_demo", "tabulate"]
