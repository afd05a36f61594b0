"""The connection to NATS, where what it stands on is gone already."""

from types import SimpleNamespace

import pytest

from swarmsync.bus import Bus


@pytest.mark.parametrize(
    "problem",
    [
        OSError("broken pipe"),
        TimeoutError(),
        RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed"),
    ],
)
async def test_closing_what_the_server_has_cut_off_is_no_error(monkeypatch, problem):
    """A worker that was just enrolled may be cut off: it must live to note down that it was."""

    async def close():
        raise problem

    bus = Bus()
    monkeypatch.setattr(bus, "_client", SimpleNamespace(close=close))
    await bus.close()
