"""Tests wait on named signals. One that sleeps is slow on a fast machine and wrong on a slow one."""

import ast
from collections.abc import Iterator
from pathlib import Path

from project import entries_of, nothing, python_files, shown, tree_of


def is_helper_process(tree: ast.Module) -> bool:
    """A program that a test starts may sleep: that is what it is there for."""
    return any(isinstance(entry, ast.If) and "__name__" in ast.unparse(entry.test) for entry in tree.body)


def sleeps_of(path: Path) -> Iterator[str]:
    """Yield the places that sleep for a time. `sleep(0)` only gives others their turn."""
    plain = {
        alias.asname or alias.name
        for entry in entries_of(path)
        if isinstance(entry, ast.ImportFrom) and entry.module in ("time", "asyncio")
        for alias in entry.names
        if alias.name == "sleep"
    }
    for entry in entries_of(path):
        if not isinstance(entry, ast.Call):
            continue
        called = ast.unparse(entry.func)
        gives_way = len(entry.args) == 1 and isinstance(entry.args[0], ast.Constant) and entry.args[0].value == 0
        if (called in ("time.sleep", "asyncio.sleep") or called in plain) and not gives_way:
            yield f"{shown(path, entry.lineno)} {ast.unparse(entry)}"


def test_no_test_sleeps():
    nothing(
        place for path in python_files("tests") if not is_helper_process(tree_of(path)) for place in sleeps_of(path)
    )


def test_files_of_tests_have_names_of_their_own():
    """Tests are collected by path and imported by name: two files of one name would hide each other."""
    seen: dict[str, Path] = {}
    double = []
    for path in python_files("tests"):
        if path.stem in ("conftest", "__init__"):
            continue
        if path.stem in seen:
            double.append(f"{shown(path)} and {shown(seen[path.stem])}")
        seen[path.stem] = path
    nothing(double)
