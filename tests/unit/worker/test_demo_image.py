import io
import shutil
import tarfile

import pytest

from worker import demo_image


def entries(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {entry.name: entry for entry in tar}


def test_equal_programs_make_equal_bytes():
    assert demo_image.build_tar() == demo_image.build_tar()


def test_the_everyday_commands_are_there():
    found = entries(demo_image.build_tar())
    assert {f"bin/{name}" for name in ("sh", "echo", "sleep", "cat", "true", "false", "seq", "date")} <= found.keys()
    assert found["tmp"].mode == 0o1777
    assert all(not name.startswith(("/", "..")) for name in found)


def test_without_busybox_commands_come_with_their_libraries(monkeypatch):
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, path: None if name == "busybox" else which(name, path=path))
    found = entries(demo_image.build_tar())
    assert found["bin/sh"].isfile()
    assert found["bin/sleep"].isfile()
    assert any("libc.so" in name or "ld-" in name for name in found)


def test_further_commands_of_the_machine_come_along_and_none_is_there_twice():
    with tarfile.open(fileobj=io.BytesIO(demo_image.build_tar(["bash", "flock", "no-such-command"]))) as tar:
        entries = tar.getmembers()
    names = [entry.name for entry in entries]
    assert len(names) == len(set(names))
    assert {entry.name for entry in entries if entry.isfile()} >= {"bin/bash", "bin/flock"}
    assert "bin/no-such-command" not in names


def test_a_machine_with_nothing(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name, path: None)
    with pytest.raises(demo_image.NoDemoImage):
        demo_image.build_tar()
