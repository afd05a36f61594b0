import mmap
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from engine.shared_resource.segment import (
    Segment,
    leftovers,
    path_of,
    refuse_weak_ordering,
    unlink_leftovers,
)
from swarmsync.errors import ConfigError


def test_attach_sees_what_the_creator_stores(instance):
    created = Segment.create(instance, "inbox", 5000)
    attached = Segment.attach(instance, "inbox")
    created.words[7] = 2**64 - 1
    created.memory[100:103] = b"abc"
    assert created.size_bytes == attached.size_bytes == 2 * mmap.PAGESIZE
    assert attached.words[7] == 2**64 - 1
    assert attached.memory[100:103] == b"abc"


def test_a_segment_is_private_to_its_user_whatever_the_umask(instance):
    before = os.umask(0o777)
    try:
        path = Segment.create(instance, "inbox", 1).path
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_creating_twice_is_refused(instance):
    Segment.create(instance, "inbox", 1)
    with pytest.raises(FileExistsError):
        Segment.create(instance, "inbox", 1)


def test_a_failed_create_leaves_nothing(instance):
    with pytest.raises(OSError, match=r"large|space|argument"):
        Segment.create(instance, "inbox", 1 << 62)
    assert leftovers(instance) == []


def test_attach_refuses_what_others_may_write(instance):
    path = Segment.create(instance, "inbox", 1).path
    path.chmod(0o666)
    with pytest.raises(PermissionError, match="not private"):
        Segment.attach(instance, "inbox")


def test_attach_refuses_a_link_and_a_file_that_was_never_finished(instance, tmp_path):
    target = tmp_path / "target"
    target.write_bytes(bytes(4096))
    path_of(instance, "link").symlink_to(target)
    with pytest.raises(OSError, match="symbolic"):
        Segment.attach(instance, "link")
    path_of(instance, "empty").touch(mode=0o600)
    with pytest.raises(ValueError, match="never finished"):
        Segment.attach(instance, "empty")


def test_leftovers_are_those_of_the_instance_alone(instance):
    other = f"{instance}x"
    try:
        Segment.create(instance, "inbox", 1).close()
        Segment.create(instance, "journal.scheduler", 1).close()
        Segment.create(other, "inbox", 1).close()
        assert leftovers(instance) == ["inbox", "journal.scheduler"]
        assert unlink_leftovers(instance) == ["inbox", "journal.scheduler"]
        assert leftovers(instance) == []
        assert leftovers(other) == ["inbox"]
    finally:
        unlink_leftovers(other)


def test_unlinking_leaves_mappings_alone_and_closing_ends_them(instance):
    segment = Segment.create(instance, "inbox", 1)
    attached = Segment.attach(instance, "inbox")
    segment.unlink()
    segment.unlink()
    segment.words[0] = 5
    assert attached.words[0] == 5
    attached.close()
    attached.close()
    with pytest.raises(ValueError, match="released"):
        attached.words[0]


def test_pages_that_are_let_go_are_not_ours_any_more_and_lose_nothing(instance):
    segment = Segment.create(instance, "inbox", 64 * mmap.PAGESIZE)
    segment.memory[:] = b"\x07" * segment.size_bytes
    assert _resident_kib(segment) == segment.size_bytes // 1024
    segment.let_go()
    assert _resident_kib(segment) == 0
    assert segment.memory[:] == b"\x07" * segment.size_bytes
    segment.words[0] = 9
    segment.let_go()
    assert Segment.attach(instance, "inbox").words[0] == 9


def _resident_kib(segment: Segment) -> int:
    """How much of a segment counts as this process's memory, as /proc/self/smaps tells (proc(5))."""
    maps = Path("/proc/self/smaps").read_text().split(f"{segment.path}\n")
    return sum(int(re.match(r"(?s).*?\nRss: +(\d+) kB", f"\n{after}")[1]) for after in maps[1:])


def test_a_segment_outlives_a_process_that_attached(instance):
    Segment.create(instance, "inbox", 1)
    code = f"from engine.shared_resource.segment import Segment; Segment.attach({instance!r}, 'inbox').words[0] = 9"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert Segment.attach(instance, "inbox").words[0] == 9


@pytest.mark.parametrize(("instance_name", "name"), [("a-b", "x"), ("", "x"), ("a", "../x"), ("a", ""), ("a", "-x")])
def test_names_cannot_reach_outside(instance_name, name):
    with pytest.raises(ValueError, match="is not a"):
        path_of(instance_name, name)


@pytest.mark.parametrize(("machine", "pointer_bytes"), [("aarch64", 8), ("riscv64", 8), ("x86_64", 4)])
def test_machines_without_store_order_are_refused(machine, pointer_bytes):
    with pytest.raises(ConfigError, match="64-bit x86"):
        refuse_weak_ordering(machine, pointer_bytes)


def test_this_machine_is_fine():
    refuse_weak_ordering("x86_64", 8)
    refuse_weak_ordering("AMD64", 8)
