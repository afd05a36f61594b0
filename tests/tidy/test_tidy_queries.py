"""Every statement in store/queries is used by its name, and every name has its statement."""

import ast
import re

from project import PROJECT, entries_of, nothing, python_files, shown

QUERIES = PROJECT / "swarmsync" / "store" / "queries"
OURS = ("swarmsync", "engine", "worker", "api", "bench")


def calls_of_sql() -> list[tuple[str, str | None]]:
    """(place, name) of each call of `sql`; the name is None where it is not written out."""
    found = []
    for path in python_files(*OURS):
        for entry in entries_of(path):
            if isinstance(entry, ast.Call) and isinstance(entry.func, ast.Name) and entry.func.id == "sql":
                literal = entry.args[0] if entry.args else None
                name = literal.value if isinstance(literal, ast.Constant) else None
                found.append((shown(path, entry.lineno), name if isinstance(name, str) else None))
    return found


def test_every_statement_is_asked_for_by_a_name_one_can_search_for():
    nothing(place for place, name in calls_of_sql() if name is None)


def test_every_name_has_a_statement():
    there = {path.stem for path in QUERIES.glob("*.sql")}
    nothing(f"{place} {name}" for place, name in calls_of_sql() if name is not None and name not in there)


def test_every_statement_is_used():
    used = {name for _, name in calls_of_sql()}
    nothing(sorted(path.name for path in QUERIES.glob("*.sql") if path.stem not in used))


def test_every_statement_says_who_runs_it_and_what_its_parameters_are():
    wrong = []
    for path in sorted(QUERIES.glob("*.sql")):
        text = path.read_text()
        comment = "\n".join(line for line in text.splitlines() if line.startswith("--"))
        numbers = {int(number) for number in re.findall(r"\$(\d+)", text.replace(comment, ""))}
        said = {int(number) for number in re.findall(r"\$(\d+)", comment)}
        if not text.startswith("-- ") or not numbers <= said:
            wrong.append(f"{path.name}: parameters {sorted(numbers - said)} are not explained")
    nothing(wrong)
