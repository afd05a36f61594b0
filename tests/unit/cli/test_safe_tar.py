"""Unpacking what a stranger has packed: what lies or points outside is refused, and nothing outside is touched."""

import io
import tarfile

import pytest

from cli.safe_tar import UnsafeTar, unpack

HARD, SOFT, DIRECTORY, DEVICE = tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE


def packed(*entries):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content, *kind in entries:
            entry = tarfile.TarInfo(name)
            entry.mode = 0o777
            if kind:
                entry.type, entry.linkname = kind[0], content
                tar.addfile(entry)
            else:
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    made.seek(0)
    return made


@pytest.fixture
def place(tmp_path):
    """A directory beside which something lies that must not change."""
    (tmp_path / "victim").write_text("mine")
    yield tmp_path / "got"
    assert (tmp_path / "victim").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) in (["got", "victim"], ["victim"])


def test_files_directories_and_links_within_come_out(place):
    tar = packed(
        ("a", b"one"), ("sub/deep/b", b"two"), ("link", "a", SOFT), ("sub/up", "../a", SOFT), ("hard", "a", HARD)
    )
    assert unpack(tar, place) == (5, 6)
    assert (place / "sub" / "deep" / "b").read_bytes() == b"two"
    assert [(place / name).read_bytes() for name in ("link", "sub/up", "hard")] == [b"one"] * 3
    assert (place / "a").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    "entries",
    [
        [("../victim", b"x")],
        [("a/../../victim", b"x")],
        [("/victim", b"x")],
        [("..", b"x")],
        [("link", "../victim", SOFT)],
        [("link", "/etc/passwd", SOFT)],
        [("sub/link", "../../victim", SOFT)],
        [("hard", "../victim", HARD)],
        [("hard", "/etc/passwd", HARD)],
        [("device", "", DEVICE)],
        [("dir", ".", SOFT), ("dir/x", b"x")],
        [("a", b"x"), ("a/b", b"y")],
    ],
    ids=repr,
)
def test_what_lies_or_points_outside_is_refused(place, entries):
    with pytest.raises(UnsafeTar):
        unpack(packed(*entries), place)


def test_a_link_that_was_there_before_is_replaced_and_not_followed(place, tmp_path):
    place.mkdir()
    (place / "a").symlink_to(tmp_path / "victim")
    unpack(packed(("a", b"new")), place)
    assert (place / "a").read_bytes() == b"new"
    assert not (place / "a").is_symlink()


def test_a_directory_that_was_turned_into_a_link_is_not_gone_through(place, tmp_path):
    place.mkdir()
    (place / "sub").symlink_to(tmp_path)
    with pytest.raises(UnsafeTar, match="leads through"):
        unpack(packed(("sub/victim", b"x")), place)


def test_older_files_are_replaced(place):
    for content in (b"old, and longer", b"new"):
        unpack(packed(("a", content)), place)
    assert (place / "a").read_bytes() == b"new"


@pytest.mark.parametrize("content", [b"no tar at all" * 100, packed(("a", b"x" * 5_000)).getvalue()[:2_000]])
def test_what_is_no_tar_is_refused(place, content):
    with pytest.raises(UnsafeTar):
        unpack(io.BytesIO(content), place)
