import os
from pathlib import Path

from worker.container_runtime import RegistryAuth, SecretFile, signal_number
from worker.secret_files import SecretFiles


def test_values_lie_below_a_directory_that_only_its_owner_enters(tmp_path: Path):
    root = tmp_path / "secrets"
    files = SecretFiles(root)
    directory = files.write("job-1", [SecretFile("a", b"\0value"), SecretFile("b", b"x", env="B")])
    assert directory == str(root / "job-1")
    assert [(path.name, path.read_bytes(), path.stat().st_mode & 0o777) for path in Path(directory).iterdir()] == [
        ("a", b"\0value", 0o444)
    ]
    assert root.stat().st_mode & 0o777 == 0o700
    assert files.write("job-1", [SecretFile("a", b"again")]) == directory
    assert (root / "job-1" / "a").read_bytes() == b"again"


def test_a_numbered_user_owns_the_files_alone_where_we_can_give_them_away(tmp_path: Path, monkeypatch):
    owners = []
    monkeypatch.setattr(os, "chown", lambda path, user, group: owners.append((path.name, user, group)))
    files = SecretFiles(tmp_path)
    files.write("job-1", [SecretFile("a", b"x")], "1000:100")
    root = os.geteuid() == 0
    assert owners == ([("a", 1000, -1)] if root else [])
    assert (tmp_path / "job-1" / "a").stat().st_mode & 0o777 == (0o400 if root else 0o444)
    files.write("job-2", [SecretFile("a", b"x")], "nobody")
    assert (tmp_path / "job-2" / "a").stat().st_mode & 0o777 == 0o444


def test_nothing_is_written_when_no_secret_is_a_file(tmp_path: Path):
    assert SecretFiles(tmp_path / "secrets").write("job-1", [SecretFile("b", b"x", env="B")]) is None
    assert not (tmp_path / "secrets").exists()


def test_forgetting(tmp_path: Path):
    files = SecretFiles(tmp_path)
    for name in ("one", "two", "three"):
        files.write(name, [SecretFile("a", b"x")])
    files.forget("one")
    files.forget("never was")
    files.forget_all_but({"three"})
    assert [path.name for path in tmp_path.iterdir()] == ["three"]


def test_memory_is_told_from_a_disk():
    assert SecretFiles(Path("/dev/shm/not/made/yet")).in_memory()
    assert not SecretFiles(Path("/proc/none")).in_memory()


def test_no_secret_shows_itself():
    values = (SecretFile("name", b"canary"), RegistryAuth("user", "canary"))
    for value in values:
        for shown in (repr(value), str(value), f"{value}", str(value.__rich_repr__()), repr([value])):
            assert "canary" not in shown
            assert "***" in shown


def test_signals_by_name_and_number():
    assert [signal_number(name) for name in ("SIGTERM", "TERM", "15")] == [15, 15, 15]
