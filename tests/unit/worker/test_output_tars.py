"""What of an archive is kept: what matches, within its limit, and always as the same bytes."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmsync.model.files import fixed_part, matcher, root_of
from worker.output_tars import TarKeeper, TooLarge


def archive(*entries):
    """A tar as Docker makes one: (name, content) is a file, (name, link, type) a link."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content, *kind in entries:
            entry = tarfile.TarInfo(name)
            entry.mode, entry.uid, entry.uname, entry.mtime = 0o4755, 1000, "someone", 1_700_000_000.7
            if kind:
                entry.type, entry.linkname = kind[0], content
                tar.addfile(entry)
            else:
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    made.seek(0)
    return made


def kept(path, *entries, limit=1_000, parent="/"):
    into = io.BytesIO()
    keeper = TarKeeper(path, limit, into)
    keeper.add(archive(*entries), parent)
    totals = keeper.close()
    into.seek(0)
    with tarfile.open(fileobj=into) as tar:
        return totals, {entry.name: entry for entry in tar}, into.getvalue()


@pytest.mark.parametrize(
    ("path", "matching", "others"),
    [
        ("/out/**", ["/out/a", "/out/b/c"], ["/out", "/outer/a", "/a"]),
        ("/out", ["/out", "/out/a", "/out/b/c"], ["/outer", "/x/out"]),
        ("/out/*.csv", ["/out/a.csv", "/out/.csv"], ["/out/a/b.csv", "/out/acsv", "/out/a.csvx"]),
        ("/out/**/*.csv", ["/out/a.csv", "/out/x/y/a.csv"], ["/out/a.txt"]),
        ("/out/a?[0-9].[!x]", ["/out/ab1.y"], ["/out/ab1.x", "/out/a/1.y", "/out/ab1./"]),
        ("/out/a+b (1).txt", ["/out/a+b (1).txt"], ["/out/aab (1)xtxt"]),
        ("//out//x/", ["/out/x"], ["/out"]),
    ],
)
def test_what_matches(path, matching, others):
    matches = matcher(path)
    assert [name for name in matching if not matches(name)] == []
    assert [name for name in others if matches(name)] == []


@pytest.mark.parametrize(
    ("path", "fixed", "root"),
    [("/out/**", "/out", "/out"), ("/a/b/*.c", "/a/b", "/a/b"), ("/a/b", "/a/b", "/a"), ("/*", "/", "/")],
)
def test_where_to_look_and_what_names_are_relative_to(path, fixed, root):
    assert (fixed_part(path), root_of(path)) == (fixed, root)


@given(st.text("ab*?[]!/.", min_size=1, max_size=12), st.text("ab/.", max_size=8))
def test_every_pattern_can_be_asked(pattern, path):
    assert matcher(f"/out/{pattern}")(f"/{path}") in (True, False)


def test_content_is_kept_and_nothing_that_tells_of_the_machine():
    totals, entries, _ = kept("/out/**", ("out/a", b"one"), ("out/sub/b", b"three"), ("else", b"x"))
    assert (totals.files, totals.bytes, list(entries)) == (2, 8, ["a", "sub/b"])
    entry = entries["a"]
    assert (entry.mode, entry.uid, entry.uname, entry.mtime) == (0o755, 0, "", 1_700_000_000)


def test_links_stay_links_and_a_hard_link_to_what_is_not_kept_is_named():
    hard, soft = tarfile.LNKTYPE, tarfile.SYMTYPE
    totals, entries, _ = kept(
        "/out/*.x", ("out/a.x", b"1"), ("out/b.x", "out/a.x", hard), ("out/c.x", "/etc/passwd", soft),
        ("out/d", b"2"), ("out/e.x", "out/d", hard), ("out/pipe.x", "", tarfile.FIFOTYPE),
    )  # fmt: skip
    assert {name: entry.linkname for name, entry in entries.items()} == {"a.x": "", "b.x": "a.x", "c.x": "/etc/passwd"}
    assert totals.elsewhere == ["/out/e.x"]


def test_the_limit_is_on_what_matches_only():
    totals, _, _ = kept("/out/*.x", ("out/a.x", b"1" * 10), ("out/large", b"2" * 5_000), limit=10)
    assert totals.bytes == 10
    with pytest.raises(TooLarge, match="max of 10 bytes"):
        kept("/out/*.x", ("out/a.x", b"1" * 10), ("out/b.x", b"2"), limit=10)


def test_the_same_files_are_the_same_bytes():
    entries = [("out/a", b"one"), ("out/b", b"two")]
    assert kept("/out/**", *entries)[2] == kept("/out/**", *entries)[2]
