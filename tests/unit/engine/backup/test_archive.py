"""A backup's file: read as it was written, and anything else is noticed."""

import errno
import random
import tarfile

import msgspec
import pytest

from engine.backup import archive
from engine.backup.archive import FORMAT, Manifest, Writer
from swarmsync.errors import ChecksumError, ConfigError

DUMP = random.Random(7).randbytes(9_000)
ABOUT = Manifest(
    FORMAT, "0.1", "2026-11-26T03:00:00Z", "here", "18.6", "owner", ("0001_core.sql",), {"jobs": 2}, (), ()
)


def write(path, about=ABOUT, dump=DUMP):
    with path.open("w+b") as file:
        writer = Writer(file, 1_790_000_000)
        writer.add(archive.DUMP, [dump[:100], dump[100:]])
        writer.add("seal.keys", [b"key"])
        return writer.finish(about)


@pytest.fixture
def whole(tmp_path):
    path = tmp_path / "whole.tar"
    write(path)
    return path


def test_what_was_written_is_read(whole):
    manifest, scan = archive.check(whole)
    assert manifest.rows == {"jobs": 2}
    assert [member.name for member in manifest.members] == [archive.DUMP, "seal.keys"]
    assert b"".join(archive.pieces(whole, scan.members[0])) == DUMP
    assert scan.small["seal.keys"] == b"key"


def test_it_is_a_tar_for_everybody_else(whole):
    with tarfile.open(whole) as tar:
        assert tar.getnames() == [archive.DUMP, "seal.keys", archive.MANIFEST, archive.SUM]
        assert {entry.mode for entry in tar} == {0o600}
        assert tar.extractfile(archive.DUMP).read() == DUMP


def test_every_flipped_bit_is_noticed(whole):
    content = whole.read_bytes()
    chance = random.Random(11)
    places = [*range(0, len(content), 97), *range(len(content) - 2_100, len(content), 13)]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << chance.randrange(8)
        whole.write_bytes(changed)
        with pytest.raises(ChecksumError):
            archive.check(whole)


def test_every_cut_is_noticed(whole):
    content = whole.read_bytes()
    for length in [*range(0, len(content), 251), *range(len(content) - 1_600, len(content), 7)]:
        whole.write_bytes(content[:length])
        with pytest.raises(ChecksumError):
            archive.check(whole)


def test_what_is_appended_is_noticed(whole):
    content = whole.read_bytes()
    for more in (b"\0", b"x", content, bytes(10_000)):
        whole.write_bytes(content + more)
        with pytest.raises(ChecksumError):
            archive.check(whole)


def test_a_newer_format_names_the_remedy(tmp_path):
    write(tmp_path / "new.tar", msgspec.structs.replace(ABOUT, format=FORMAT + 1))
    with pytest.raises(ConfigError, match="install a newer SwarmSync"):
        archive.check(tmp_path / "new.tar")


@pytest.mark.parametrize("name", ["../secrets.json", "/etc/passwd", "a/b", "", "UPPER"])
def test_names_that_are_none_of_ours_are_refused(tmp_path, name):
    with (tmp_path / "bad.tar").open("w+b") as file:
        writer = Writer(file, 0)
        writer.add(name, [b"x"])
        with pytest.raises(ChecksumError):
            writer.finish(ABOUT)
    with pytest.raises(ChecksumError):
        archive.check(tmp_path / "bad.tar")


def test_links_and_devices_are_refused(tmp_path):
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE):
        with tarfile.open(tmp_path / "bad.tar", "w") as tar:
            entry = tarfile.TarInfo("link")
            entry.type, entry.linkname = kind, "/etc/passwd"
            tar.addfile(entry)
        with pytest.raises(ChecksumError, match="no file"):
            archive.check(tmp_path / "bad.tar")


def test_a_member_that_claims_more_than_there_is_is_refused(tmp_path):
    entry = tarfile.TarInfo(archive.DUMP)
    entry.size = 1 << 50
    (tmp_path / "bad.tar").write_bytes(entry.tobuf(tarfile.GNU_FORMAT) + bytes(4_096))
    with pytest.raises(ChecksumError, match="it was cut"):
        archive.check(tmp_path / "bad.tar")


def test_too_many_members_are_refused(tmp_path):
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        for number in range(200):
            tar.addfile(tarfile.TarInfo(f"m{number}"))
    with pytest.raises(ChecksumError, match="more than"):
        archive.check(tmp_path / "bad.tar")


def test_a_disk_that_gives_back_other_bytes_is_noticed(tmp_path):
    with (tmp_path / "bad.tar").open("w+b") as file:
        writer = Writer(file, 0)
        writer.add(archive.DUMP, [DUMP])
        file.seek(700)
        file.write(b"\xff\xff\xff\xff")
        file.seek(0, 2)
        with pytest.raises(ChecksumError, match="the disk gave back other bytes"):
            writer.finish(ABOUT)


def test_a_full_disk_is_the_callers_to_tell(tmp_path):
    class Full:
        def __init__(self, file):
            self._file, self._left = file, 4_000

        def write(self, data):
            self._left -= len(data)
            if self._left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self._file.write(data)

        def tell(self):
            return self._file.tell()

    with (tmp_path / "full.tar").open("w+b") as file, pytest.raises(OSError, match="No space left"):
        Writer(Full(file), 0).add(archive.DUMP, [DUMP])
    with pytest.raises(ChecksumError):
        archive.check(tmp_path / "full.tar")


def test_a_missing_file_is_told_in_a_sentence(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        archive.check(tmp_path / "none.tar")
