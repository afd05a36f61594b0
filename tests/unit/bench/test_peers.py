"""Which peers are measured, and what a measurement leaves behind on the engine."""

from types import SimpleNamespace

import pytest

from bench import peers, swarm_jobs
from bench.peer_programs import Peer


@pytest.mark.parametrize(
    ("package", "programs", "there"),
    [
        ("msgspec", (), True),
        ("", ("sh",), True),
        ("no_such_package", (), False),
        ("msgspec", ("sh", "no-such-program"), False),
    ],
)
def test_a_peer_is_measured_where_all_of_it_is_installed(package, programs, there):
    peer = Peer("what it is", 1, lambda *_: (1.0, []), package, programs)
    assert peer.installed is there


def test_every_peer_says_what_must_be_installed():
    assert all(peer.package or peer.programs for peer in peers.PEERS.values())


class Engine:
    """An engine's part in a swarm."""

    def __init__(self, state, *, manages=True, networks=("bridge",)):
        self.state, self.manages = state, manages
        self.there = list(networks)
        self.calls = []
        self.swarm = SimpleNamespace(init=self._init, leave=self._leave)
        self.networks = SimpleNamespace(list=self._networks)

    def info(self):
        return {"Swarm": {"LocalNodeState": self.state, "ControlAvailable": self.manages}}

    def _init(self, **where):
        assert where["advertise_addr"] == "127.0.0.1"
        self.calls.append("init")
        self.there = list(dict.fromkeys([*self.there, swarm_jobs.GATEWAY]))

    def _leave(self, *, force):
        assert force
        self.calls.append("leave")

    def _networks(self, names=None):
        return [
            SimpleNamespace(name=name, remove=lambda name=name: self.there.remove(name))
            for name in self.there
            if names is None or name in names
        ]


@pytest.mark.parametrize("before", [("bridge",), ("bridge", swarm_jobs.GATEWAY)])
def test_an_engine_without_a_swarm_is_left_as_it_was(before):
    engine = Engine("inactive", networks=before)

    def breaks():
        with swarm_jobs._swarm(engine):
            assert engine.calls == ["init"]
            raise RuntimeError("the bench broke")

    with pytest.raises(RuntimeError, match="the bench broke"):
        breaks()
    assert engine.calls == ["init", "leave"]
    assert engine.there == list(before)


def test_a_swarm_that_is_there_is_used_and_not_left():
    engine = Engine("active")
    with swarm_jobs._swarm(engine):
        pass
    assert engine.calls == []


def test_a_swarm_that_others_manage_is_refused():
    with pytest.raises(swarm_jobs.Refused, match="others manage"), swarm_jobs._swarm(Engine("active", manages=False)):
        pass
