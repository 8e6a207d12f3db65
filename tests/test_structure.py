"""The house: who may import whom, names that occur once, functions that take few parameters."""

from __future__ import annotations

import ast
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

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
