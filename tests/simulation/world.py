"""The simulated world of one seed: real cores, everything else fake; first faults, then healing.

`run_with_faults` checks safety after every event; `heal_and_run` lets everything recover, and then nothing may be left.
"""

from collections.abc import Callable

from agent import Agent
from checks import Checks
from core import Core
from faults import Faults
from machine import Behaviour, Container, Machine
from network import Network
from people import People, behaviour_of
from programs import Life
from rows import Broken
from settings import SimSettings, settings_of
from store import Store
from timeline import Timeline

from swarmsync.model.job import JobRef


class World:
    def __init__(self, seed: int, settings: SimSettings | None = None, kinds: dict[str, float] | None = None) -> None:
        self.seed = seed
        self.timeline = Timeline(seed)
        self.settings = settings or settings_of(self.timeline.chance)
        self.network = Network(self.timeline)
        self.network.deaf_to = self.settings.deaf_to
        self.store = Store(self.timeline)
        self.core = Core(self.timeline, self.store, self.network, self.settings)
        self.people = People(self)
        self.chaos = Life(self.timeline, "chaos")
        self.machines: dict[str, Machine] = {}
        self.agents: dict[str, Agent] = {}
        self.sessions: dict[str, int] = {}
        self.history: dict[JobRef, Container] = {}
        self.checks = Checks(self)
        self.healed = False
        self.one_behaviour: Behaviour | None = None  # for worlds in which all containers are alike
        self.faults = Faults(self, kinds)
        for _ in range(self.settings.workers):
            self.add_machine()
        self.core.start_all()

    # ------------------------------------------------ the two phases

    def run_with_faults(self) -> None:
        until_ms = self.timeline.now_ms + self.settings.faults_ms
        self.people.life.run(self.people.submit_some(self.settings.jobs))
        if self.settings.meddle_ms and not self.settings.simple:
            self.people.life.run(self.people.meddle(until_ms))
        self.faults.start(until_ms)
        self.run_until(lambda: False, until_ms)

    def heal_and_run(self) -> None:
        """Everything that can come back does; then all must end within `heal_ms`, and nothing may be left over."""
        self.heal()
        self.run_until(self._all_ended, self.timeline.now_ms + self.settings.heal_ms)
        self.run_until(lambda: not self.checks.leaks(), self.timeline.now_ms + 90_000, every=500)
        leaks = self.checks.leaks()
        if leaks:
            raise Broken("left over in the end: " + "; ".join(leaks[:8]))

    def heal(self) -> None:
        self.timeline.note("heal")
        self.healed = True
        self.chaos.kill()
        self.network.loss = self.network.repeat = 0.0
        self.store.refuse = self.store.silence = 0.0
        self.store.fates.clear()
        self.network.fates.clear()
        self.store_back()
        self.nats_back()
        for connection in list(self.network.connections):
            self.network.heal(connection)
        for shell in self.core.shells.values():
            shell.life.unpause()
        for agent in list(self.agents.values()):
            self.unpause_agent(agent)
        self.core.start_all()
        for machine in self.machines.values():
            self.start_agent(machine.name)
        self.people.life.run(self.people.finish())

    def run_until(self, done: Callable[[], bool], until_ms: int, *, every: int = 20) -> None:
        timeline = self.timeline
        try:
            while timeline.now_ms < until_ms and timeline.step():
                self.checks.look()
                if timeline.events % every == 0 and done():
                    return
        except AssertionError as broken:
            raise Broken(f"{broken} [seed {self.seed} at {timeline.now_ms} ms]") from broken

    def _all_ended(self) -> bool:
        nobody_comes = not self.people.submitting
        return nobody_comes and not self.store.tables.unfinished and len(self.checks.finals) == len(self.people.made)

    # ------------------------------------------------ what faults and their ends do

    def add_machine(self) -> None:
        offset_ms = self.timeline.chance.randrange(-50_000, 50_000)
        machine = Machine(f"w{len(self.machines)}", self.settings.capacity, self.timeline, offset_ms)
        machine.on_start, machine.on_end = self.checks.began, self.checks.exited
        self.machines[machine.name] = machine
        self.start_agent(machine.name)

    def store_back(self) -> None:
        self.store.away = False

    def nats_back(self) -> None:
        self.network.away = False

    def some_agent(self) -> Agent | None:
        return self.timeline.chance.choice(list(self.agents.values())) if self.agents else None

    def start_agent(self, name: str) -> None:
        machine = self.machines[name]
        if not machine.alive or name in self.agents:
            return
        self.sessions[name] = self.sessions.get(name, 0) + 1
        agent = self.agents[name] = Agent(self, machine, self.sessions[name])
        agent.troubled = self.sessions[name] > 1
        self.timeline.note("start", agent.session)
        agent.life.run(agent.run())

    def kill_agent(self, name: str) -> None:
        """Its containers go on; the next agent of the machine finds them."""
        agent = self.agents.pop(name, None)
        if agent is None:
            return
        self.timeline.note("kill", agent.session)
        agent.life.kill()
        self.network.close(agent.connection)
        self.timeline.after(300 + self.timeline.chance.random() ** 3 * 25_000, self.start_agent, name)

    def pause_agent(self, agent: Agent) -> None:
        """SIGSTOP of the agent only: its containers go on."""
        agent.life.pause()
        agent.troubled = agent.stood_still = True
        self.timeline.note("pause", agent.session)

    def unpause_agent(self, agent: Agent) -> None:
        if agent.life.paused:
            agent.well_since_ms = self.timeline.now_ms
            self.timeline.note("go on", agent.session)
            agent.life.unpause()

    # ------------------------------------------------ questions

    def worker_id(self, name: str) -> int | None:
        known = self.store.tables.workers.get(name)
        return known[0].worker_id if known else None

    def behaviour_of(self, ref: JobRef) -> Behaviour:
        return self.one_behaviour or behaviour_of(self.people.made[ref.job_id], ref, self.seed, self.settings.run_ms)


def run_seed(
    seed: int,
    settings: SimSettings | None = None,
    kinds: dict[str, float] | None = None,
    *,
    loss: float = 0.0,
    repeat: float = 0.0,
    silence: float = 0.0,
) -> World:
    """Both phases. Raises Broken, with the seed and the last of its trace."""
    world = World(seed, settings, kinds)
    world.network.loss = max(world.network.loss, loss)
    world.network.repeat = max(world.network.repeat, repeat)
    world.store.silence = max(world.store.silence, silence)
    try:
        world.run_with_faults()
        world.heal_and_run()
    except AssertionError as broken:
        raise Broken(f"seed {seed}, faults {world.faults.kinds}: {broken}\n{world.timeline.tail()}") from broken
    return world
