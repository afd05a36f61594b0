"""Files stay readable in one sitting, functions on one screen."""

import ast

from project import PACKAGES, entries_of, nothing, python_files, shown, tree_of

FILE_LINES_MAX = 400
#: The vocabulary is one file, so that one place says what crosses a process boundary; it is a list, and read as one.
VOCABULARY = "swarmsync/protocol/messages.py"
VOCABULARY_LINES_MAX = 600
FUNCTION_LINES_MAX = 70


def test_no_file_is_longer_than_one_can_keep_in_mind():
    lengths = ((shown(path), len(path.read_text().splitlines())) for path in python_files())
    nothing(
        f"{name} has {length} lines"
        for name, length in lengths
        if length > (VOCABULARY_LINES_MAX if name == VOCABULARY else FILE_LINES_MAX)
    )


def test_every_function_fits_a_screen():
    lengths = (
        (f"{shown(path, entry.lineno)} {entry.name}", entry.end_lineno - entry.lineno + 1)
        for path in python_files()
        for entry in entries_of(path)
        if isinstance(entry, ast.FunctionDef | ast.AsyncFunctionDef) and entry.end_lineno is not None
    )
    nothing(f"{name} has {length} lines" for name, length in lengths if length > FUNCTION_LINES_MAX)


def test_every_file_says_what_it_is_for():
    nothing(
        f"{shown(path)} has no docstring"
        for path in python_files(*PACKAGES)
        if len((ast.get_docstring(tree_of(path)) or "").strip(". ")) < 10
    )
