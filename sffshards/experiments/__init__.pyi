from .demo_run import run_demo
from .reproduction import ResultRow, reproduce, tabulate

__all__ = ["ResultRow", "reproduce", "run_demo", "tabulate"]
