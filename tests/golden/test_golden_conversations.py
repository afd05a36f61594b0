"""What the Scheduler's core answers to what happens, as conversations that read as documentation."""

from pathlib import Path

import pytest
from conversation import play
from golden import HERE, settle

CONVERSATIONS = sorted((HERE / "conversations").glob("*.txt"))


@pytest.mark.parametrize("path", CONVERSATIONS, ids=lambda path: path.stem)
def test_the_conversation_goes_as_it_went(path: Path):
    now = play(path.read_text())
    assert now == settle(path, now)


@pytest.mark.parametrize("path", CONVERSATIONS, ids=lambda path: path.stem)
def test_a_conversation_has_no_chance_in_it(path: Path):
    assert play(path.read_text()) == play(path.read_text())


def test_there_are_conversations():
    assert len(CONVERSATIONS) >= 5
