"""What lives for long does not grow by how it is written."""

import ast

from project import entries_of, nothing, python_files, shown

#: What does not know how long it is.
LAZY = {"map", "zip", "filter"}


def is_call_of(entry: ast.AST, names: set[str]) -> bool:
    return isinstance(entry, ast.Call) and isinstance(entry.func, ast.Name) and entry.func.id in names


def test_no_tuple_is_made_of_what_does_not_know_its_length_where_a_process_lives_long():
    """CPython makes it of ten places, cuts it to size, and keeps it when it is freed: up to 2,000 of each size."""
    nothing(
        f"{shown(path, entry.lineno)}: make the list first, tuple([...])"
        for path in python_files("engine", "worker", "swarmsync", "api")
        for entry in entries_of(path)
        if is_call_of(entry, {"tuple"}) and entry.args
        if isinstance(entry.args[0], ast.GeneratorExp) or is_call_of(entry.args[0], LAZY)
    )
