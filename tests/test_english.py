"""The texts that people read are plain English: phrases that made earlier texts hard to read do not come back.

codespell checks single words, with the dictionary ``docs/.retired-words.txt``. This module checks phrases, in the pages
of the documentation, and in the docstrings, messages and comments of the package.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "shards").glob("*.md")])
MODULES = sorted((ROOT / "sffshards").rglob("*.py"))
TEMPLATES = sorted(path for path in (ROOT / "sffshards").rglob("*") if path.suffix in {".html", ".jinja", ".j2"})

NOUNS = (
    "row|line|file|sample|frame|fold|field|column|process|thread|entry|image|picture|region|harp|shard|sequence|page"
)
PHRASES = {
    r"(makes?|begins?|beginning|began) anew": "from scratch",
    r"(goes|go|gone|went|going) on (where|from|with|in the middle)": "resume",
    r"made (data|regions?|images|suns?|frames|lists)": "synthetic ...",
    r"(put|puts) down to": "attributed to",
    rf"(one|an?) ({NOUNS}) an? ({NOUNS})": "one ... per ...",
    rf"(one|two|three) an? ({NOUNS}|processor|device|horizon|part)": "one per ...",
    r"at most so many": "maximum number of ...",
    r"(is|are|this is|which is|was|were) said( to be)?": "is reported as",
    r"look(ed|s|ing)? over": "check",
    r"let(s|ting)? go( of)?": "release",
    r"ha(s|ve|d) (no|a) part in": "does not affect",
    r"(the|all of the) whole way": "the pipeline",
    r"the way works": "the pipeline works end to end",
    r"further views": "augmented views",
    r"shards (from )?elsewhere": "remote shards",
    r"(is|are|be) drawn again": "are resampled",
    r"draw(s|ing|n)? (whole )?(harps|regions) again": "resample regions",
    r"figures of (training|the steps?|the epochs?)": "training metrics",
    r"(is|are|be) given again": "is run again",
    r"give the (same )?command again": "run the command again",
    r"pass(ed|es|ing)? over": "ignore, skip",
    r"in a line each": "one per line",
    r"stands? in the way": "prevent",
    r"(is|are|be) (not )?looked at": "is (not) checked",
}
"""Regular expression of a retired phrase, and what to write instead."""

REFUSED_OPENERS = re.compile(r"(Give|Gives|Say|Says|Tell|Tells|Told|Take back|Takes back|Of)\b")
"""A function's docstring opens with what it does, and a field's with its noun."""
SPACE = r"(?:(?!\n\s*\n)[\s#])+"
"""Space within a paragraph or a comment; a phrase does not extend over a blank line."""

PATTERNS = {re.compile(rf"\b({phrase.replace(' ', SPACE)})\b", re.IGNORECASE): use for phrase, use in PHRASES.items()}


@pytest.mark.parametrize("page", [*PAGES, *TEMPLATES], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_page_has_no_retired_phrase(page):
    assert list(find_phrases(page, 1, page.read_text("utf-8"))) == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_has_no_retired_phrase(module):
    source = module.read_text("utf-8")
    texts = [*find_strings(source), *find_comments(source)]
    assert [found for line, text in texts for found in find_phrases(module, line, text)] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_docstrings_open_with_a_plain_verb(module):
    where = module.relative_to(ROOT)
    docstrings = find_docstrings(ast.parse(module.read_text("utf-8")))
    assert [f"{where}:{line}: {text.splitlines()[0]}" for line, text in docstrings if REFUSED_OPENERS.match(text)] == []


def test_a_phrase_is_found_across_lines():
    source = '''"""Rows of a\n    row a sample."""\n\n# The run goes\n# on from there.\n'''
    texts = [*find_strings(source), *find_comments(source)]
    found = [line for start, text in texts for line in find_phrases(ROOT / "x.py", start, text)]
    assert found == [
        "x.py:1: 'a row a sample': write 'one ... per ...'",
        "x.py:4: 'goes on from': write 'resume'",
    ]


def find_phrases(path: Path, line: int, text: str) -> Iterator[str]:
    for pattern, use in PATTERNS.items():
        for match in pattern.finditer(text):
            place = f"{path.relative_to(ROOT)}:{line + text.count(chr(10), 0, match.start())}"
            yield f"{place}: {' '.join(match[0].replace('#', ' ').split())!r}: write {use!r}"


def find_strings(source: str) -> Iterator[tuple[int, str]]:
    """Yield every string of a module with its line; the fields of an f-string become an ellipsis."""
    tree = ast.parse(source)
    inside = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(part) for part in node.values}
            yield node.lineno, "".join(part.value if is_text(part) else "..." for part in node.values)
    for node in ast.walk(tree):
        if is_text(node) and id(node) not in inside:
            yield node.lineno, node.value


def is_text(node: ast.AST) -> TypeGuard[Any]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def find_comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield the comments of a module with their lines; comments on consecutive lines are one."""
    start, last = 0, -1
    lines: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if token.start[0] != last + 1 and lines:
                yield start, "\n".join(lines)
                lines = []
            start = start if lines else token.start[0]
            last = token.start[0]
            lines.append(token.string)
    if lines:
        yield start, "\n".join(lines)


def find_docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the docstrings of a module with their lines, and the strings below fields, which document them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and is_text(node.value):
            yield node.lineno, node.value.value.strip()
