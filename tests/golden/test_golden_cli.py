"""The reference of the command line says what the program says."""

from cli_pages import document
from golden import PROJECT, settle

from cli.commands.vocabulary import COMMANDS, Noun

REFERENCE = PROJECT / "docs" / "cli.md"


def test_the_reference_is_current():
    now = document()
    assert settle(REFERENCE, now) == now, "make golden writes it anew"


def test_the_reference_has_every_command():
    text = document()
    for name, entry in COMMANDS.items():
        names = [f"{name} {verb}" for verb in entry.verbs] if isinstance(entry, Noun) else [name]
        if isinstance(entry, Noun) and entry.summary.startswith("Same as"):
            names = []
        for command in names:
            assert f"    consumer {command} " in text
