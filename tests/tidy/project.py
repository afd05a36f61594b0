"""The project as the tidy tests read it: its files, their syntax trees, their prose."""

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).parent.parent.parent
PACKAGES = ("swarmsync", "engine", "worker", "api", "cli", "bench", "conf")
#: Documents that people read.
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs")


@cache
def python_files(*tops: str) -> tuple[Path, ...]:
    """Every .py file below these directories; of the packages and the tests when none is named."""
    return tuple(sorted(path for top in tops or (*PACKAGES, "tests") for path in (PROJECT / top).rglob("*.py")))


@cache
def documents() -> tuple[Path, ...]:
    found: list[Path] = []
    for name in DOCUMENTS:
        path = PROJECT / name
        found += sorted(path.rglob("*.md")) if path.is_dir() else [path]
    return tuple(found)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


@cache
def entries_of(path: Path) -> tuple[ast.AST, ...]:
    """Everything in the tree; it is walked once for all tests, which takes longer than what they look for."""
    return tuple(ast.walk(tree_of(path)))


def let_go() -> None:
    """Forget the trees: hundreds of thousands of entries would slow down every later test's garbage collection."""
    entries_of.cache_clear()
    tree_of.cache_clear()


def shown(path: Path, line: int | None = None) -> str:
    """A place as editors open it."""
    name = str(path.relative_to(PROJECT))
    return name if line is None else f"{name}:{line}"


def nothing(wrong: Iterable[str]) -> None:
    """Fail with one line for each thing that is wrong."""
    lines = list(wrong)
    assert not lines, "\n" + "\n".join(lines)


def prose_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of what people read in a .py file: comments, docstrings, and texts of several words."""
    with tokenize.open(path) as file:
        source = file.read()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for entry in entries_of(path):
        if isinstance(entry, ast.Constant) and isinstance(entry.value, str) and entry.value.count(" ") > 1:
            for offset, line in enumerate(entry.value.splitlines()):
                yield entry.lineno + offset, line


def prose_of_document(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of a Markdown file without its code."""
    fenced = False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, re.sub(r"`[^`]*`", "", line)


def code_of_document(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of the code in a Markdown file: fenced lines and inline spans."""
    fenced = False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced:
            yield number, line
        else:
            yield from ((number, span) for span in re.findall(r"`([^`]*)`", line))
