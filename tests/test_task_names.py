"""Names of tasks: of folders, lists and files, and what is no name."""

from __future__ import annotations

import pytest

from sffshards.base.errors import InputError
from sffshards.domain.task import M24, M48, GoesClass, Task, is_task_name


@pytest.mark.parametrize(
    ("name", "folder", "label_list", "exceedance"),
    [
        ("M24", "24h", "flare_Mclass_24h_Test.txt", "M+"),
        ("M48", "48h", "flare_Mclass_48h_Test.txt", "M+"),
        ("C24", "C24", "flare_Cclass_24h_Test.txt", "C+"),
        ("X8760", "X8760", "flare_Xclass_8760h_Test.txt", "X+"),
        ("M5.0_24", "M5.0_24", "flare_M5.0class_24h_Test.txt", "M5.0+"),
        ("X10.0_48", "X10.0_48", "flare_X10.0class_48h_Test.txt", "X10.0+"),
    ],
)
def test_a_task_names_its_folder_lists_and_event(name, folder, label_list, exceedance):
    task = Task.parse(name)
    assert (task.name, task.folder, task.list_name("Test"), task.exceedance) == (name, folder, label_list, exceedance)
    assert Task.of_list(label_list) == (task, "Test")
    assert task.event == f"a flare of class {exceedance[:-1]} or above within {task.horizon_hours} h"
    assert is_task_name(name)


@pytest.mark.parametrize(
    "text",
    ["", "48h", "M", "m48", "M0", "M048", "M8761", "M48 ", "D24", "M5_24", "M5.00_24", "M.5_24", "M24_5.0", "M٤٨"],
)
def test_other_texts_are_no_task(text):
    assert not is_task_name(text)
    with pytest.raises(InputError, match="expected a task such as M24 or C48"):
        Task.parse(text)


@pytest.mark.parametrize(
    "name",
    [
        "flare_Mclass_48h.txt",
        "flare_class_48h_Test.txt",
        "flare_Mclass_0h_Test.txt",
        "flare_Mclass_8761h_Test.txt",
        "Seq16_flare_Mclass_48h_Test.txt",
        "flare_M5class_48h_Test.txt",
        "flare_Mclass_48h_Test.csv",
    ],
)
def test_other_file_names_state_no_task(name):
    assert Task.of_list(name) is None


def test_tasks_are_equal_and_ordered_by_horizon_and_class():
    assert Task(threshold=GoesClass.parse("C10.0"), horizon_hours=48) == M48
    assert sorted([M48, Task.parse("X24"), M24, Task.parse("C24")]) == [Task.parse("C24"), M24, Task.parse("X24"), M48]


@pytest.mark.parametrize(("threshold", "hours"), [("M1.05", 24), ("M1.0", 0), ("M1.0", 8761)])
def test_a_task_that_no_name_can_state_is_refused(threshold, hours):
    with pytest.raises(ValueError, match="must be"):
        Task(threshold=GoesClass.parse(threshold), horizon_hours=hours)
