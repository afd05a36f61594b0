"""One concept, one word: docs/words.md is the list, and these are the words that it replaces."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import PROJECT, documents, entries_of, nothing, prose_of, prose_of_document, python_files, shown, tree_of

from swarmsync.model.lifecycle import AssignmentState, Eligibility, EndReason, JobState, Liveness, WaitReason

#: What is said instead.
INSTEAD = {"heartbeat": "pulse", "node": "worker or machine", "host": "machine", "task": "job or assignment"}
#: Modules named for nothing collect everything.
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}
#: Other people's things keep other people's words.
FOREIGN = re.compile(
    r"asyncio\.\w+|asyncio tasks?|ast\.\w+|[Dd]ocker hosts?|DOCKER_HOST|docker_host|host networks?|task groups?"
    r"|task/none|\bNodes=|shim task|no such host|no route to host|\"host\"|'host'|\bhost:|HostConfig|[?&]host="
    r"|hostname",
)
#: These two must say the words in order to forbid them.
EXEMPT = {PROJECT / "tests/tidy/test_tidy_words.py", PROJECT / "docs/words.md"}


def words_in(identifier: str) -> set[str]:
    """Split snake_case and CamelCase, without plurals: {"worker", "host"} of WorkerHosts."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", identifier)
    return {part.lower().removesuffix("s") for part in parts}


def names_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield what a file gives a name to for others: classes, functions, parameters, fields, constants.

    Local names are left out: they may be those of the library whose things they hold, as `task` of an asyncio.Task.
    """
    for scope in [tree_of(path), *(entry for entry in entries_of(path) if isinstance(entry, ast.ClassDef))]:
        for entry in scope.body:
            targets = entry.targets if isinstance(entry, ast.Assign) else []
            targets = [entry.target] if isinstance(entry, ast.AnnAssign) else targets
            yield from ((entry.lineno, target.id) for target in targets if isinstance(target, ast.Name))
    for entry in entries_of(path):
        if isinstance(entry, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield entry.lineno, entry.name
        if isinstance(entry, ast.FunctionDef | ast.AsyncFunctionDef):
            given = (*entry.args.posonlyargs, *entry.args.args, *entry.args.kwonlyargs)
            yield from ((arg.lineno, arg.arg) for arg in given if not is_asyncio_task(arg))


def is_asyncio_task(argument: ast.arg) -> bool:
    return argument.annotation is not None and "asyncio.Task" in ast.unparse(argument.annotation)


def banned_in(text: str) -> list[str]:
    text = FOREIGN.sub("", text)
    return [f"{word}: say {INSTEAD[word]}" for word in INSTEAD if re.search(rf"\b{word}s?\b", text, re.IGNORECASE)]


def test_no_module_is_named_for_nothing():
    nothing(shown(path) for path in python_files() if path.stem in EMPTY_NAMES)


def test_identifiers_use_the_words():
    wrong = [
        f"{shown(path, line)} {name}: say {INSTEAD[word]}"
        for path in python_files()
        if path not in EXEMPT
        for line, name in [*names_of(path), (1, path.stem)]
        for word in sorted(words_in(name) & INSTEAD.keys())
    ]
    nothing(wrong)


def test_comments_docstrings_and_sentences_use_the_words():
    wrong = [
        f"{shown(path, line)} {problem}"
        for path in python_files()
        if path not in EXEMPT
        for line, text in prose_of(path)
        for problem in banned_in(text)
    ]
    nothing(wrong)


def test_words_md_names_every_state_and_reason():
    text = (PROJECT / "docs" / "words.md").read_text()
    kinds = (JobState, AssignmentState, Liveness, Eligibility, WaitReason, EndReason)
    nothing(f"{kind.__name__} {entry.value}" for kind in kinds for entry in kind if f"| `{entry.value}` |" not in text)


def test_documents_use_the_words():
    wrong = [
        f"{shown(path, line)} {problem}"
        for path in documents()
        if path not in EXEMPT
        for line, text in prose_of_document(path)
        for problem in banned_in(text)
    ]
    nothing(wrong)


@pytest.mark.parametrize("suffix", ["*.sql", "*.py", "*.sh", "*.toml"])
def test_nothing_at_all_beats_but_the_pulse(suffix: str):
    """This word is not even a local name."""
    places: list[Path] = [path for path in PROJECT.glob(f"*/**/{suffix}") if ".venv" not in path.parts]
    wrong = [shown(path) for path in places if path not in EXEMPT and "heartbeat" in path.read_text().lower()]
    nothing(wrong)
