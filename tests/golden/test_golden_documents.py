"""The documents' tables and pictures say what the code's tables say."""

from diagrams import PARTS, markers, renewed
from golden import PROJECT, settle

ARCHITECTURE = PROJECT / "docs" / "architecture.md"


def test_the_generated_parts_are_current():
    now = renewed(ARCHITECTURE.read_text())
    assert settle(ARCHITECTURE, now) == now, "make golden writes them anew"


def test_every_part_has_its_place():
    assert sorted(markers(ARCHITECTURE.read_text())) == sorted(PARTS)


def test_the_document_can_be_read_in_one_sitting():
    assert len(ARCHITECTURE.read_text().splitlines()) < 300
