"""What PostgreSQL's settings promise."""

import pytest

from swarmsync.model.durability import judge


@pytest.mark.parametrize(
    ("values", "durability", "told"),
    [
        (("on", "on", "on", ""), "machine", "no synchronous standby"),
        (("on", "on", "local", "a"), "machine", "standby a is not waited for"),
        (("on", "on", "on", "ANY 1 (a, b)"), "replicated", "synchronous standby ANY 1 (a, b)"),
        (("on", "on", "remote_apply", "*"), "replicated", "remote_apply"),
        (("on", "on", "remote_write", "*"), "replicated", "not a crash of both"),
        (("on", "on", "off", "a"), "nothing", "synchronous_commit off"),
        (("off", "on", "on", "a"), "nothing", "fsync off"),
        (("off", "off", "off", ""), "nothing", "fsync and full_page_writes off"),
    ],
)
def test_each_class_says_why_and_what_to_do(values, durability, told):
    found = judge(*values)
    assert found.durability == durability
    assert told in found.sentence
    assert bool(found.remedy) == (durability != "replicated")
