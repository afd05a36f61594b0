"""What the documents tell people to type exists."""

import re
import shlex
from collections.abc import Iterator

import pytest
from project import PROJECT, code_of_document, documents, nothing, shown
from typer.main import get_command

from cli.commands.vocabulary import COMMANDS, Noun
from engine.swarmsyncd import app as swarmsyncd

PROGRAM = re.compile(r"(?:^|[\s$(])(?:\.venv/bin/)?(make|consumer|swarmsyncd|bench) (?P<rest>[a-z][^|&;#)]*)")


def commands(program: str) -> Iterator[tuple[str, list[str]]]:
    """Yield (place, arguments) of each call of a program in the documents' code."""
    for path in documents():
        for line, text in code_of_document(path):
            for match in PROGRAM.finditer(text):
                if match[1] == program:
                    try:
                        words = shlex.split(match["rest"])
                    except ValueError:
                        words = match["rest"].split()
                    yield shown(path, line), words


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))


def test_make_targets_exist():
    nothing(f"{place} {words[0]}" for place, words in commands("make") if words[0] not in targets())


def test_the_readme_names_the_two_commands():
    said = {words[0] for place, words in commands("make") if place.startswith("README.md")}
    assert {"run", "test"} <= said


def test_consumer_commands_exist():
    wrong = []
    for place, words in commands("consumer"):
        entry = COMMANDS.get(words[0])
        unknown = entry is None or (isinstance(entry, Noun) and len(words) > 1 and words[1] not in entry.verbs)
        if unknown:
            wrong.append(f"{place} consumer {' '.join(words[:2])}")
    nothing(wrong)


def test_swarmsyncd_commands_exist():
    known = get_command(swarmsyncd).commands
    nothing(f"{place} {words[0]}" for place, words in commands("swarmsyncd") if words[0] not in known)


@pytest.mark.parametrize("name", ["run", "stop", "check", "test", "sim", "bench", "golden"])
def test_the_makefile_has_one_way_to_do_each_thing(name: str):
    assert name in targets()


def test_links_between_documents_lead_somewhere():
    nothing(
        f"{shown(path)} {target}"
        for path in documents()
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text())
        if "://" not in target and not (path.parent / target).exists()
    )
