"""What goes wrong, and when: each seed draws its own mixture, so that some worlds have one kind of trouble only."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from network import Connection
from programs import Program

from engine.service_channels import START_ORDER

if TYPE_CHECKING:
    from world import World


class Faults:
    """Runs until `until_ms`. `kinds` names the faults to use; None draws some of them."""

    def __init__(self, world: World, kinds: dict[str, float] | None = None) -> None:
        self.world = world
        self.timeline = world.timeline
        self.actions: dict[str, Callable[[], None]] = {
            "kill_module": self._kill_module,
            "pause_module": self._pause_module,
            "restart_core": self._restart_core,
            "store_away": self._store_away,
            "nats_away": self._nats_away,
            "partition": self._partition,
            "lag": self._lag,
            "module_lag": self._module_lag,
            "kill_agent": self._kill_agent,
            "pause_agent": self._pause_agent,
            "drain_agent": self._drain_agent,
            "machine_dies": self._machine_dies,
        }
        chance = self.timeline.chance
        if kinds is None:
            drawn = chance.sample(list(self.actions), chance.randint(1, 6))
            kinds = {kind: chance.choice((1_500, 5_000, 12_000)) for kind in drawn}
            self.world.network.loss = chance.choice((0.0, 0.0, 0.02, 0.1))
            self.world.network.repeat = chance.choice((0.0, 0.0, 0.05))
            self.world.network.delay_ms = chance.choice((2, 20, 150))
            self.world.store.refuse = chance.choice((0.0, 0.0, 0.01, 0.05))
            self.world.store.silence = chance.choice((0.0, 0.0, 0.01, 0.05))
        self.kinds = kinds  # kind -> mean milliseconds between two of them

    def start(self, until_ms: int) -> None:
        for kind in self.kinds:
            self.world.chaos.run(self._repeat(kind, until_ms))

    def _repeat(self, kind: str, until_ms: int) -> Program:
        while True:
            yield round(self.timeline.chance.expovariate(1 / self.kinds[kind])) + 200
            if self.timeline.now_ms >= until_ms:
                return
            self.actions[kind]()

    def _between(self, low_ms: int, high_ms: int) -> int:
        """Short ones are more frequent."""
        return low_ms + round((high_ms - low_ms) * self.timeline.chance.random() ** 2)

    # ------------------------------------------------ Core

    def _kill_module(self) -> None:
        role = self.timeline.chance.choice(START_ORDER)
        self.world.core.kill(role)
        self.timeline.after(self._between(200, 3_000), self.world.core.start, role)

    def _pause_module(self) -> None:
        """SIGSTOP; the supervisor kills what has not beaten for 4 s."""
        role = self.timeline.chance.choice(START_ORDER)
        shell = self.world.core.shells.get(role)
        if shell is None or shell.life.paused:
            return
        shell.life.pause()
        self.timeline.note("pause", role.value)
        if self.timeline.chance.random() < 0.3:
            self.timeline.after(4_000, self._replace, role, shell)
        else:
            self.timeline.after(self._between(300, 3_900), shell.life.unpause)

    def _replace(self, role: object, shell: object) -> None:
        for known, present in list(self.world.core.shells.items()):
            if known is role and present is shell:
                self.world.core.kill(known)
                self.world.core.start(known)

    def _restart_core(self) -> None:
        self.world.core.kill_all()
        self.timeline.after(self._between(500, 8_000), self.world.core.start_all)

    def _store_away(self) -> None:
        self.world.store.away = True
        self.timeline.note("store", "away")
        self.timeline.after(self._between(100, 8_000), self.world.store_back)

    def _nats_away(self) -> None:
        self.world.network.away = True
        self.timeline.note("nats", "away")
        self.timeline.after(self._between(100, 8_000), self.world.nats_back)

    # ------------------------------------------------ workers

    def _partition(self) -> None:
        agent = self.world.some_agent()
        if agent is None:
            return
        chance = self.timeline.chance
        how = chance.choice(("drop", "hold"))
        up, down = chance.choice(((how, how), (how, how), (how, ""), ("", how)))
        self.timeline.note("cut", agent.session, up, down)
        self.world.network.cut(agent.connection, up=up, down=down)
        for_ms = self._between(500, round(2.2 * self.world.settings.lease_ms))
        self.timeline.after(for_ms, self.world.network.heal, agent.connection, agent.connection.troubles)

    def _lag(self) -> None:
        agent = self.world.some_agent()
        if agent is not None:
            self._slow(agent.connection)

    def _module_lag(self) -> None:
        shells = list(self.world.core.shells.values())
        if shells:
            self._slow(self.timeline.chance.choice(shells).connection)

    def _slow(self, connection: Connection) -> None:
        self.world.network.slow(connection, self._between(50, 4_000))
        self.timeline.note("lag", connection.name, connection.lag_ms)
        self.timeline.after(self._between(500, 20_000), self.world.network.heal, connection, connection.troubles)

    def _kill_agent(self) -> None:
        agent = self.world.some_agent()
        if agent is not None:
            self.world.kill_agent(agent.machine.name)

    def _drain_agent(self) -> None:
        agent = self.world.some_agent()
        if agent is not None and not agent.draining and agent.joins:
            agent.life.run(agent.drain())

    def _pause_agent(self) -> None:
        agent = self.world.some_agent()
        if agent is not None and not agent.life.paused:
            self.world.pause_agent(agent)
            self.timeline.after(self._between(500, 60_000), self.world.unpause_agent, agent)

    def _machine_dies(self) -> None:
        agent = self.world.some_agent()
        living = [machine for machine in self.world.machines.values() if machine.alive]
        if agent is not None and len(living) > 1:
            self.timeline.note("dies", agent.machine.name)
            agent.machine.die()
            self.world.kill_agent(agent.machine.name)
