"""Core as the supervisor keeps it: five modules, their rings, and what happens to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher_shell import DispatcherShell
from harvester_shell import HarvesterShell
from module_shells import HibernatorShell, LoggerShell, SchedulerShell, Shell
from rings import FakeRing

from engine.service_channels import CHANNELS, START_ORDER, Role

if TYPE_CHECKING:
    from network import Network
    from settings import SimSettings
    from store import Store
    from timeline import Timeline

SHELLS: dict[Role, type[Shell]] = {
    Role.LOGGER: LoggerShell,
    Role.DISPATCHER: DispatcherShell,
    Role.HIBERNATOR: HibernatorShell,
    Role.SCHEDULER: SchedulerShell,
    Role.HARVESTER: HarvesterShell,
}


class Core:
    def __init__(self, timeline: Timeline, store: Store, network: Network, settings: SimSettings) -> None:
        self.timeline = timeline
        self.store = store
        self.network = network
        self.settings = settings
        self.readers = {c.name: c.reader for c in CHANNELS if c.reader is not Role.LOGGER}
        self.rings: dict[str, FakeRing] = {}
        self.shells: dict[Role, Shell] = {}
        self.deaths = 0
        self.down = True

    def start_all(self) -> None:
        """A start of the daemon: new rings where it was down, then the modules, consumers first."""
        if self.down:
            self.rings = {name: FakeRing(name, self.settings.slots) for name in self.readers}
            self.down = False
        for role in START_ORDER:
            self.start(role)

    def start(self, role: Role) -> None:
        if self.down or role in self.shells:
            return
        shell = self.shells[role] = SHELLS[role](self)
        self.timeline.note("start", role.value)
        shell.life.run(shell.run())

    def kill(self, role: Role) -> None:
        """What the module knew is gone; what it had not taken from its rings is still there."""
        shell = self.shells.pop(role, None)
        if shell is None:
            return
        self.deaths += 1
        self.timeline.note("kill", role.value)
        shell.life.kill()
        self.network.close(shell.connection)
        for ring in self.rings.values():
            if ring.bell is shell.bell:
                ring.bell = None

    def kill_all(self) -> None:
        self.down = True
        for role in START_ORDER:
            self.kill(role)

    # ------------------------------------------------ what the checks look at

    @property
    def scheduler(self) -> SchedulerShell:
        shell = self.shells[Role.SCHEDULER]
        assert isinstance(shell, SchedulerShell)
        return shell

    @property
    def harvester(self) -> HarvesterShell:
        shell = self.shells[Role.HARVESTER]
        assert isinstance(shell, HarvesterShell)
        return shell

    @property
    def dispatcher(self) -> DispatcherShell:
        shell = self.shells[Role.DISPATCHER]
        assert isinstance(shell, DispatcherShell)
        return shell
