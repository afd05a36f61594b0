"""Compiled modules are used where they were made from what is here, and nowhere else."""

import os
import runpy
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES

import pytest

from swarmsync import compiled

WHERE = "import engine.scheduler.rooms as rooms; print(rooms.__file__)"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A library of two sources, as they are."""
    monkeypatch.setattr(compiled, "ROOT", tmp_path)
    for name in ("a.py", "b.py"):
        tmp_path.joinpath(name).write_text(f"# {name}\n")
    place = tmp_path / "lib"
    place.mkdir()
    place.joinpath(f"some{EXTENSION_SUFFIXES[0]}").write_bytes(bytes(100))
    compiled.sign(place, ["a.py", "b.py"])
    assert compiled.is_current(place)
    return place


def test_an_edited_source_makes_it_stale(place, tmp_path):
    tmp_path.joinpath("b.py").write_text("# c.py\n")
    assert not compiled.is_current(place)


def test_a_source_that_is_gone_makes_it_stale(place, tmp_path):
    tmp_path.joinpath("a.py").unlink()
    assert not compiled.is_current(place)


def test_text_that_moved_from_one_source_to_the_other_makes_it_stale(place, tmp_path):
    tmp_path.joinpath("a.py").write_text("")
    tmp_path.joinpath("b.py").write_text("# a.py\n# b.py\n")
    assert not compiled.is_current(place)


def test_half_a_library_is_none(place):
    place.joinpath(f"some{EXTENSION_SUFFIXES[0]}").write_bytes(bytes(99))
    assert not compiled.is_current(place)


def test_what_was_made_from_nothing_is_none(place):
    compiled.sign(place, [])
    assert not compiled.is_current(place)


@pytest.mark.parametrize("text", ["", "\n", "0" * 64, "\xff"])
def test_a_list_that_cannot_be_read_makes_it_stale(place, text):
    place.joinpath("sources.txt").write_text(text, encoding="latin-1")
    assert not compiled.is_current(place)


def where(named):
    environment = {**os.environ, "SWARMSYNC_COMPILED": named}
    arguments = [sys.executable, "-c", WHERE]
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_programs_take_what_is_compiled(tmp_path):
    """`make test` compiles first."""
    assert where("").endswith(".so" if sys.version_info[:2] in compiled.TESTED else ".py")
    assert where("no") == where(str(tmp_path)) == str(compiled.ROOT / "engine" / "scheduler" / "rooms.py")


def test_a_library_that_cannot_be_loaded_is_left_alone(tmp_path):
    place = tmp_path / sys.implementation.cache_tag / "engine"
    place.mkdir(parents=True)
    place.joinpath(compiled.library("engine") + EXTENSION_SUFFIXES[0]).write_bytes(b"")
    compiled.sign(place, ["engine/scheduler/rooms.py"])
    assert compiled.is_current(place)
    assert where(str(tmp_path)).endswith("rooms.py")


def test_compilers_side_by_side_have_a_cache_each(monkeypatch, tmp_path):
    """On a fresh clone one of them ended with "database is locked" now and then."""
    compiler = runpy.run_path(str(compiled.ROOT / "scripts" / "compile.py"))
    caches = []
    monkeypatch.setattr(subprocess, "Popen", lambda *_, env, **__: caches.append(env["MYPY_CACHE_DIR"]))
    for program in compiled.MODULES:
        compiler["start"](program, tmp_path)
    assert len(set(caches)) == len(compiled.MODULES)
