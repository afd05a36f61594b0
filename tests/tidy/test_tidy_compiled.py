"""What mypyc would make of a module is what Python makes of it: rules that it does not check itself."""

import ast

from project import PROJECT, entries_of, nothing, shown

from swarmsync import compiled

PATHS = [PROJECT / f"{name.replace('.', '/')}.py" for names in compiled.MODULES.values() for name in names]


def test_no_compiled_module_defines_a_class_with_settings():
    """mypyc drops them without a word: `class A(Struct, frozen=True)` is neither frozen nor hashable then."""
    nothing(
        f"{shown(path, entry.lineno)}: class {entry.name} with {entry.keywords[0].arg}=: give it an own module"
        for path in PATHS
        for entry in entries_of(path)
        if isinstance(entry, ast.ClassDef) and entry.keywords
    )


def test_no_compiled_module_defines_a_struct():
    """Its fields would be of a class of Python's, and slower than interpreted."""
    nothing(
        f"{shown(path, entry.lineno)}: class {entry.name}: write a class, or a NamedTuple"
        for path in PATHS
        for entry in entries_of(path)
        if isinstance(entry, ast.ClassDef)
        if any(ast.unparse(base).endswith("Struct") for base in entry.bases)
    )


def test_packages_of_compiled_modules_look_for_them():
    for package in {path.parent for path in PATHS}:
        assert "prefer(__name__, __path__)" in package.joinpath("__init__.py").read_text()


def test_no_compiled_coroutine_waits_in_a_finally_or_an_except():
    """Compiled it shows its exception to whoever runs meanwhile; and a `finally` raises again what it finds shown there."""
    waits = (ast.Await, ast.AsyncFor, ast.AsyncWith, ast.Yield, ast.YieldFrom)
    nothing(
        f"{shown(path, entry.lineno)}: waits in a finally or an except: go on behind it (worker/ending.py)"
        for path in PATHS
        for entry in entries_of(path)
        if isinstance(entry, ast.Try)
        for part in (*entry.finalbody, *entry.handlers)
        for wait in ast.walk(part)
        if isinstance(wait, waits) or (isinstance(wait, ast.comprehension) and wait.is_async)
    )


def test_compiled_coroutines_enter_no_manager_whose_exit_may_wait():
    """`async with` awaits its exit in an except and a finally of mypyc's; that of `asyncio.timeout` never waits."""
    nothing(
        f"{shown(path, entry.lineno)}: async with something else than asyncio.timeout"
        for path in PATHS
        for entry in entries_of(path)
        if isinstance(entry, ast.AsyncWith)
        if not all(ast.unparse(item.context_expr).startswith("asyncio.timeout(") for item in entry.items)
    )
