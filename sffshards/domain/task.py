"""The task: what is forecast, a flare of at least some GOES class within a number of hours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

from sffshards.base.errors import InputError

__all__ = ["M1", "M24", "M48", "MAX_HORIZON_HOURS", "PUBLISHED_TASKS", "GoesClass", "Task", "is_task_name"]

MAX_HORIZON_HOURS = 8760
"""Longest horizon in hours: a year."""

_CLASS = re.compile(r"([ABCMX])(\d{1,3}(?:\.\d{1,3})?)", re.ASCII)
_TASK = re.compile(r"([ABCMX])(?:(\d{1,3}\.\d)_)?([1-9]\d{0,3})", re.ASCII)
_LIST = re.compile(r"flare_([ABCMX](?:\d{1,3}\.\d)?)class_([1-9]\d{0,3})h_(\w+)\.txt", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class GoesClass:
    """GOES class of a flare: its peak X-ray flux at 0.1 to 0.8 nm. Classes are ordered by flux."""

    flux_pw_per_m2: int
    """Peak flux in units of 1e-12 W/m2, as a whole number, which compares exactly; M1.0 is 10,000,000."""

    def __post_init__(self) -> None:
        if self.flux_pw_per_m2 <= 0:
            raise ValueError(f"flux_pw_per_m2 must be above 0, got {self.flux_pw_per_m2}")

    @classmethod
    def parse(cls, text: str, *, where: object = "class") -> GoesClass:
        """Parse a letter and a number, such as ``M1.0``.

        Raises
        ------
        InputError
            If the text is not of that form.

        Examples
        --------
        >>> GoesClass.parse("C10.0") == GoesClass.parse("M1.0") < GoesClass.parse("X2")
        True
        """
        match = _CLASS.fullmatch(text.strip().upper())
        thousandths = round(float(match[2]) * 1000) if match else 0
        if match is None or not thousandths:
            raise InputError(
                where,
                expected="a class such as M1.0",
                found=repr(text[:40]),
                fix="write a letter of ABCMX and a number",
            )
        # A1.0 is 1e-8 W/m2, and each further letter is ten times as much.
        return cls(flux_pw_per_m2=thousandths * 10 ** (1 + "ABCMX".index(match[1])))

    def __str__(self) -> str:
        power = min(max(len(str(self.flux_pw_per_m2)) - 5, 0), 4)
        return f"{'ABCMX'[power]}{self.flux_pw_per_m2 / 10 ** (power + 4):.1f}"

    @property
    def short(self) -> str:
        """Shortest name of the class: ``M`` for M1.0, ``M5.0`` for M5.0."""
        text = str(self)
        return text[0] if text[1:] == "1.0" else text


M1 = GoesClass.parse("M1.0")
"""Threshold of the published tasks."""


def is_task_name(text: str) -> bool:
    """Return whether a text, such as a folder's name, is the name of a task."""
    match = _TASK.fullmatch(text)
    return match is not None and int(match[3]) <= MAX_HORIZON_HOURS


@total_ordering
class Task:
    """An event of at least a GOES class within a number of hours after the last frame of a sequence.

    Tasks are named as in the published folders: ``M24`` is a flare of class M1.0 or above within 24 hours, ``C72`` one
    of class C1.0 or above within 72 hours, ``M5.0_24`` one of class M5.0 or above. JSON stores the name.

    Parameters
    ----------
    threshold
        Lowest class that counts, to a tenth.
    horizon_hours
        Length of the forecast window in hours, from 1 to `MAX_HORIZON_HOURS`.

    Examples
    --------
    >>> task = Task.parse("C24")
    >>> task.name, task.folder, task.event, task.list_name("Test")
    ('C24', 'C24', 'a flare of class C or above within 24 h', 'flare_Cclass_24h_Test.txt')
    >>> Task.parse("M48").folder
    '48h'
    """

    __slots__ = ("horizon_hours", "threshold")

    def __init__(self, *, threshold: GoesClass, horizon_hours: int) -> None:
        if type(horizon_hours) is not int or not 1 <= horizon_hours <= MAX_HORIZON_HOURS:
            raise ValueError(f"horizon_hours must be from 1 to {MAX_HORIZON_HOURS}, got {horizon_hours}")
        # Names have one decimal, and two thresholds of the same name would share a folder.
        if GoesClass.parse(str(threshold)) != threshold:
            raise ValueError(f"threshold must be a class to a tenth, such as M5.1, got more digits than {threshold}")
        self.threshold = threshold
        self.horizon_hours = horizon_hours

    @classmethod
    def parse(cls, text: str, *, where: object = "task") -> Task:
        """Parse a task's name, such as ``M48``; raises `InputError` for any other text."""
        match = _TASK.fullmatch(text) if is_task_name(text) else None
        if match is None:
            raise InputError(
                where,
                expected="a task such as M24 or C48, a class and hours",
                found=repr(text[:40]),
                fix="write the letter of a class and a number of hours",
            )
        return cls(threshold=GoesClass.parse(match[1] + (match[2] or "1.0")), horizon_hours=int(match[3]))

    @classmethod
    def of_list(cls, file_name: str) -> tuple[Task, str] | None:
        """Return the task and the part in the file name of a label list, or None for any other name."""
        match = _LIST.fullmatch(file_name)
        if match is None or int(match[2]) > MAX_HORIZON_HOURS:
            return None
        threshold = match[1] if len(match[1]) > 1 else f"{match[1]}1.0"
        return cls(threshold=GoesClass.parse(threshold), horizon_hours=int(match[2])), match[3]

    @property
    def name(self) -> str:
        """Name of the task and of the folder of its label lists, such as ``M48``."""
        short = self.threshold.short
        return f"{short}{self.horizon_hours}" if len(short) == 1 else f"{short}_{self.horizon_hours}"

    @property
    def horizon(self) -> str:
        """Horizon as users write it, such as ``48h``."""
        return f"{self.horizon_hours}h"

    @property
    def folder(self) -> str:
        """Name of the folder of a build or of runs: ``48h`` for M within 48 hours, else the task's name."""
        return self.horizon if self.threshold == M1 else self.name

    @property
    def exceedance(self) -> str:
        """Classes that count, such as ``M+``."""
        return f"{self.threshold.short}+"

    @property
    def event(self) -> str:
        """Event in words, such as ``a flare of class M or above within 48 h``."""
        return f"a flare of class {self.threshold.short} or above within {self.horizon_hours} h"

    def includes(self, other: Task) -> bool:
        """Return whether an event of the other task is always one of this task, too.

        Examples
        --------
        >>> [Task.parse(name).includes(Task.parse("M24")) for name in ("M48", "C24", "M12", "X72")]
        [True, True, False, False]
        """
        return self.threshold <= other.threshold and self.horizon_hours >= other.horizon_hours

    def list_name(self, part: str) -> str:
        """Return the file name of a label list, such as ``flare_Mclass_48h_Test.txt``."""
        return f"flare_{self.threshold.short}class_{self.horizon}_{part}.txt"

    def __str__(self) -> str:
        return self.folder

    def __repr__(self) -> str:
        return f"Task({self.name})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Task) and self._key == other._key

    def __lt__(self, other: Task) -> bool:
        return self._key < other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[int, GoesClass]:
        return self.horizon_hours, self.threshold


M24 = Task(threshold=M1, horizon_hours=24)
"""The published task of a flare of class M or above within 24 hours."""

M48 = Task(threshold=M1, horizon_hours=48)
"""The published task of a flare of class M or above within 48 hours."""

PUBLISHED_TASKS = (M24, M48)
"""The tasks of Grim and Gradvohl (2024)."""
