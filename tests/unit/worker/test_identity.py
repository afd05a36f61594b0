"""A worker's key from the moment in which Core has taken it."""

import pytest

from swarmsync.errors import NotAllowed
from worker import identity

URL = "nats://join:secret@127.0.0.1:4222"


@pytest.fixture
def nats(monkeypatch):
    """Core enrolls whoever asks; NATS refuses so many logins with a key before it has read its file again."""

    class Nats:
        late, logins, enrolled = 0, 0, 0

    async def enroll(*_):
        Nats.enrolled += 1

    async def connect(address, *_, **__):
        assert address == "nats://127.0.0.1:4222"
        Nats.logins += 1
        if Nats.logins <= Nats.late:
            raise NotAllowed("NATS refuses this login")
        return "connected"

    monkeypatch.setattr(identity, "_enroll", enroll)
    monkeypatch.setattr(identity.Bus, "connect", connect)
    monkeypatch.setattr(identity, "NEW_KEY_PAUSE_S", 0)
    return Nats


async def test_who_was_just_enrolled_waits_until_nats_knows_the_key(nats, tmp_path):
    nats.late = 3
    assert await identity.connect(URL, "w1", tmp_path, "token") == "connected"
    assert (nats.enrolled, nats.logins) == (1, 4)


async def test_a_key_that_nats_never_takes_is_an_error(nats, tmp_path):
    nats.late = 10**6
    with pytest.raises(NotAllowed):
        await identity.connect(URL, "w1", tmp_path, "token")
    assert nats.enrolled == 1


async def test_a_key_that_counts_no_more_is_replaced_once(nats, tmp_path):
    assert await identity.connect(URL, "w1", tmp_path, "token") == "connected"
    nats.late = nats.logins + 1
    assert await identity.connect(URL, "w1", tmp_path, "token") == "connected"
    assert nats.enrolled == 2
