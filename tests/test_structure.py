"""The house: who may import whom, names that occur once, functions that take few parameters."""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter
from enum import Enum
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest

from sffshards.base.errors import InputError

PACKAGE = Path(__file__).parents[1] / "sffshards"
FILES = sorted(path for path in PACKAGE.rglob("*.py"))
PUBLIC_MODULES = {"base", "domain"}
"""Packages whose modules others import from; the `__init__` of the rest names what they offer."""
FACES = sorted(path.parent for path in PACKAGE.rglob("__init__.pyi"))
MAX_PARAMETERS = 8
MAX_LINES = 330


def name_of(folder: Path) -> str:
    return ".".join(folder.relative_to(PACKAGE.parent).parts)


def imports_of(path: Path) -> list[tuple[int, str]]:
    tree = ast.parse(path.read_text("utf-8"))
    return [
        (node.lineno, node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("sffshards.")
    ]


@pytest.mark.slow
def test_other_packages_import_from_what_a_package_offers() -> None:
    wrong = []
    for path in FILES:
        own = path.relative_to(PACKAGE).parts[0]
        for line, module in imports_of(path):
            target = PACKAGE.joinpath(*module.split(".")[1:])
            top = module.split(".")[1]
            if top not in {own, *PUBLIC_MODULES} and not target.is_dir():
                wrong.append(f"{path.relative_to(PACKAGE)}:{line}: {module}")
    assert wrong == []


def test_a_file_name_occurs_once() -> None:
    names = Counter(path.name for path in FILES if path.name not in ("__init__.py", "__main__.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_library_functions_take_few_parameters() -> None:
    wrong = []
    for path in FILES:
        if "cli" in path.parts:  # options of a command are parameters
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                count = len([name for name in names if name not in ("self", "cls")])
                if count > MAX_PARAMETERS:
                    wrong.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {node.name} takes {count}")
    assert wrong == []


def test_modules_are_short_and_say_what_they_are_for() -> None:
    for path in FILES:
        text = path.read_text("utf-8")
        assert text.count("\n") <= MAX_LINES, path
        assert path.name == "__main__.py" or ast.get_docstring(ast.parse(text)), path


def test_packages_hold_about_a_dozen_modules() -> None:
    folders = Counter(path.parent for path in FILES if path.name != "__init__.py" and "cli" not in path.parts)
    assert {name_of(folder): count for folder, count in folders.items() if count > 15} == {}


@pytest.mark.parametrize("folder", FACES, ids=name_of)
def test_what_a_package_offers_is_there(folder: Path) -> None:
    package = import_module(name_of(folder))
    assert package.__all__ == sorted(package.__all__, key=str)
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name in dir(package)


def public_entries() -> list[tuple[str, object]]:
    """The functions and classes that faces offer, and those of the public modules of `base` and `domain`."""
    names = [name_of(folder) for folder in FACES]
    names += [
        f"sffshards.{top}.{path.stem}" for top in PUBLIC_MODULES for path in sorted((PACKAGE / top).glob("[a-z]*.py"))
    ]
    modules = [import_module(name) for name in names]
    return [(f"{module.__name__}.{name}", getattr(module, name)) for module in modules for name in module.__all__]


def is_documented(name: str, entry: object) -> bool:
    """Return whether a public name has a docstring: a constant's follows its assignment."""
    if inspect.isfunction(entry) or inspect.isclass(entry):
        return bool(inspect.getdoc(entry))
    stub = PACKAGE.parent.joinpath(*name.split(".")[:-1], "__init__.pyi")
    constant = name.rpartition(".")[2]
    for node in ast.walk(ast.parse(stub.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and constant in {alias.name for alias in node.names}:
            lines = ast.parse(stub.with_name(f"{node.module}.py").read_text("utf-8")).body
            for line, after in pairwise(lines):
                targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
                if any(isinstance(target, ast.Name) and target.id == constant for target in targets):
                    return isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    return False


def test_every_public_name_is_documented_so_that_the_reference_shows_it() -> None:
    pages = "\n".join(path.read_text("utf-8") for path in (PACKAGE.parent / "docs" / "api").glob("*.md"))
    shown = set(re.findall(r"^::: (\S+)", pages, re.MULTILINE))
    faces = {name_of(folder) for folder in FACES} - {"sffshards"}
    assert faces <= shown
    modules = [import_module(face) for face in sorted(faces)]
    names = [(f"{module.__name__}.{name}", getattr(module, name)) for module in modules for name in module.__all__]
    assert [name for name, entry in names if not is_documented(name, entry)] == []


def asks_for_words(entry: object) -> bool:
    """Return whether a parameter of a function or a class is annotated with an enumeration or a path."""
    home = inspect.getmodule(entry)
    functions = [entry] if inspect.isfunction(entry) else [vars(entry).get("__init__")]
    for function in filter(inspect.isfunction, functions):
        of_parameters = [text for name, text in function.__annotations__.items() if name != "return"]
        for word in {word for text in of_parameters for word in re.findall(r"\w+", str(text))}:
            kind = vars(home).get(word)
            if isinstance(kind, type) and issubclass(kind, Enum | Path):
                return True
    return False


def test_every_public_entry_converts_words_and_paths() -> None:
    entries = [(name, entry) for name, entry in public_entries() if inspect.isfunction(entry) or inspect.isclass(entry)]
    asking = [(name, entry) for name, entry in entries if name.startswith("sffshards.") and asks_for_words(entry)]
    assert len(asking) > 80
    assert [name for name, entry in asking if not hasattr(entry, "__accepts_text__")] == []


@pytest.mark.parametrize(
    ("package", "name", "value", "found"),
    [
        ("labels", "read_label_list", {"path": 0}, "`path`: expected a path, found a value of type int"),  # of stdin
        ("labels", "find_data", {"data": None}, "`data`: expected a path, found a value of type NoneType"),
        ("shards.read", "open_build", {"folder": None}, "`folder`: expected a path, found a value of type NoneType"),
        ("shards.read", "open_build", {"folder": ["shards"]}, "`folder`: expected a path, found a value of type list"),
        (
            "forecasting.runs",
            "evaluate_run",
            {"force": 3},
            "`force`: expected True or False, found a value of type int",
        ),
        (
            "forecasting.runs",
            "evaluate_run",
            {"folds": 3},
            "`folds`: expected several values, found a value of type int",
        ),
        ("domain.task", "Task", {"threshold": 1.0}, "`threshold`: expected a GoesClass, found a value of type float"),
        ("domain.task", "Task", {"horizon_hours": 48.0}, "`horizon_hours`: expected a whole number, found a value of"),
        ("report", "ReportOptions", {"harps": 377}, "`harps`: expected several values, found a value of type in"),
        (
            "report",
            "ReportOptions",
            {"per_outcome": 1.5},
            "`per_outcome`: expected a whole number, found a value of type float",
        ),
        (
            "models",
            "build_model",
            {"name": 2},
            "`name`: expected a ModelName, found a value of type int",
        ),
    ],
)
def test_a_value_that_is_none_of_a_parameter_is_refused(
    package: str, name: str, value: dict[str, object], found: str
) -> None:
    with pytest.raises(InputError, match=found):
        getattr(import_module(f"sffshards.{package}"), name)(**value)


def test_lazy_names_and_those_of_a_module_are_listed() -> None:
    package = import_module("sffshards")
    assert {"__version__", "__doc__", "build_shards", "TrainingOptions"} <= set(dir(package))
