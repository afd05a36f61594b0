"""Which peers are measured, and what a measurement leaves behind on the engine."""

from types import SimpleNamespace

import pytest

from bench import peers, swarm_jobs
from bench.peer_programs import Peer
from bench.scenarios import containers


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

    def __init__(self, state, networks=("bridge",)):
        self.state = state
        self.there = list(networks)
        self.calls = []
        self.swarm = SimpleNamespace(init=self._init, leave=self._leave)
        self.networks = SimpleNamespace(list=self._networks)

    def info(self):
        return {"Swarm": {"LocalNodeState": self.state}} if self.state else {}

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
            if names is None or any(part in name for part in names)  # as Docker looks
        ]


@pytest.mark.parametrize("before", [("bridge",), ("bridge", "my_docker_gwbridge"), ("bridge", swarm_jobs.GATEWAY)])
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


@pytest.mark.parametrize("state", ["active", "pending", ""])
def test_an_engine_that_is_in_a_swarm_or_knows_of_none_is_left_alone(state):
    engine = Engine(state)
    with pytest.raises(swarm_jobs.Refused), swarm_jobs._swarm(engine):
        pass
    assert engine.calls == []


@pytest.mark.parametrize("problem", [swarm_jobs.Refused("live-restore"), TimeoutError("it stood still"), KeyError("x")])
def test_a_swarm_that_does_not_work_costs_nothing_else(monkeypatch, problem):
    def run(*_):
        raise problem

    said = []
    monkeypatch.setattr(swarm_jobs, "run", run)
    assert containers._swarm({}, 4, said.append) == []
    assert said == [f"without Docker Swarm: {problem}"]
