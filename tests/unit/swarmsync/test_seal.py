"""What is sealed opens again, for its purpose and with its key only; nothing shows a key or a value."""

import base64
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmsync.errors import ConfigError
from swarmsync.seal import SealBroken, Sealer, load_ring, new_ring, sealed_by

SEALER = Sealer([bytes(range(32))])


@given(st.binary(max_size=1_000), st.text(max_size=40))
def test_a_value_comes_back(value, purpose):
    assert SEALER.unseal(SEALER.seal(value, purpose), purpose) == value


@given(st.binary(min_size=1, max_size=64), st.data())
def test_a_changed_byte_anywhere_is_noticed(value, data):
    sealed = bytearray(SEALER.seal(value, "p"))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SealBroken):
        SEALER.unseal(bytes(sealed), "p")


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01" + bytes(40), SEALER.seal(b"v", "p")[:-1]])
def test_what_is_no_sealed_value_is_refused(sealed):
    with pytest.raises(SealBroken):
        SEALER.unseal(sealed, "p")


def test_a_value_does_not_open_for_another_purpose():
    with pytest.raises(SealBroken, match="belongs elsewhere"):
        SEALER.unseal(SEALER.seal(b"v", "secret:1:a"), "secret:2:a")


def test_the_same_value_never_looks_the_same_twice():
    assert SEALER.seal(b"v", "p") != SEALER.seal(b"v", "p")


def test_a_new_key_seals_and_the_old_one_still_opens():
    old = new_ring()
    before = Sealer.of(old)
    sealed = before.seal(b"v", "p")
    after = Sealer.of(f"{new_ring()},{old}")
    assert after.unseal(sealed, "p") == b"v"
    assert sealed_by(sealed) == before.key_id != after.key_id == sealed_by(after.seal(b"v", "p"))
    with pytest.raises(SealBroken, match="does not have"):
        before.unseal(after.seal(b"v", "p"), "p")


@pytest.mark.parametrize("ring", ["", "c2hvcnQ=", "not base64!", base64.b64encode(bytes(33)).decode()])
def test_a_wrong_ring_is_refused_and_not_quoted(ring):
    with pytest.raises(ConfigError) as caught:
        Sealer.of(ring)
    assert not ring or ring not in str(caught.value)


def test_the_key_file_is_made_once_and_for_its_owner_only(tmp_path):
    path = tmp_path / "seal.keys"
    ring = load_ring(path)
    assert load_ring(path) == ring
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Sealer.of(ring).unseal(Sealer.of(ring).seal(b"v", "p"), "p") == b"v"


def test_nothing_of_a_key_is_shown():
    ring = new_ring()
    assert ring not in repr(Sealer.of(ring))


def test_a_key_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match=str(tmp_path)):
        load_ring(tmp_path)
