"""The supervisor: keeps *desired = actual* over a table of children. No event loop, no threads; signals only enqueue.

Start order: servers, set-up, modules (consumers first), API, worker; stop order is the reverse. A child that ends is
started again; a module whose pulse stops gets SIGABRT for its traceback, then SIGKILL. When the supervisor itself is
killed, Linux ends its children, and the next `swarmsyncd` goes on from PostgreSQL and the containers.
"""

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING, Final

import msgspec

import conf
from conf.settings import Settings, WorkerSite
from engine import bootstrap
from engine.bootstrap import Servers
from engine.keeper import keeper_main
from engine.lead_word import LeadWord
from engine.pulse_system import liveness
from engine.pulse_system.pulse_page import PulsePage
from engine.service_channels import PURPOSE, START_ORDER, Role, Wiring
from engine.service_handles import ChildSpec, Handle, Phase, launch_module, launch_program, launch_server
from engine.shared_resource.segment import Segment, unlink_leftovers
from engine.supervision import Budget, GiveUp, on_exit
from swarmsync.embedded import READY_TIMEOUT_S
from swarmsync.errors import ConfigError
from swarmsync.nats_config import JOIN

if TYPE_CHECKING:
    from engine.status import Status

TURN_S: Final = 0.1
#: Between looks while all is well: SIGCHLD ends the wait, and nobody else can take the lead.
CALM_S: Final = 0.25
API_PATIENCE_S: Final = 10.0
GUNICORN_CONF: Final = Path(conf.__file__).parent / "gunicorn.conf.py"
#: A module may take this long to connect and load before its pulse is judged as sternly as later.
START_GRACE_MS: Final = 30_000


def monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def load_modules() -> "tuple[Callable[..., Callable[[], None]], type[Status]]":
    """Import what the modules are made of, once for all of them; it takes about as long as the servers do to start."""
    from engine.modules import module_main  # noqa: PLC0415 said above
    from engine.status import Status  # noqa: PLC0415 the same

    return module_main, Status


class Supervisor:
    def __init__(self, settings: Settings, instance: str, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._instance = instance
        self._say = say
        self._signals: SimpleQueue[int] = SimpleQueue()
        self._budget = Budget(
            settings.supervisor.restarts_max, settings.supervisor.restarts_window_ms, settings.supervisor.backoff_max_ms
        )
        self._handles: list[Handle] = []
        self._watches: dict[str, liveness.Watch] = {}
        self._logs = settings.data_path / "logs"
        self._status: Status | None = None
        self._lead = LeadWord()
        self._term = 0  # in which our modules run
        pulse = settings.pulse
        self._limits = liveness.Limits(pulse.late_ms, pulse.abort_ms, pulse.kill_ms)
        self._start_limits = liveness.Limits(START_GRACE_MS, START_GRACE_MS + 1, START_GRACE_MS + 1_000)

    # ------------------------------------------------ life

    def run(self, on_ready: Callable[[], None]) -> None:
        """Start everything, keep it alive until SIGTERM or SIGINT, stop everything. Raises ConfigError."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._on_signal)
        unlink_leftovers(self._instance)
        servers = bootstrap.prepare(self._settings)
        try:
            self._start_servers(servers)
            self._set_up(servers)
            self._servers = servers = bootstrap.shared(self._settings, servers)
            if not servers.alone:
                self._start_keeper(servers)
            self._follow_lead()
            self._start_core(servers)
            self._await_api()
            on_ready()
            self._keep()
        finally:
            self._stop_everything(alone=servers.alone)
            unlink_leftovers(self._instance)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signals.put(number)  # nothing else: this may interrupt anything

    # ------------------------------------------------ start

    def _start_servers(self, servers: Servers) -> None:
        """Start the servers and wait for them; meanwhile the API may load, if the schema is what it expects."""
        handles = [
            self._start(
                ChildSpec(plan.name, Phase.SERVER, launch_server(plan), plan.stop_signal, 5_000, "embedded server")
            )
            for plan in servers.plans
        ]
        if servers.alone and bootstrap.was_set_up(self._settings):
            self._start_api(servers)
        load_modules()
        deadline = time.monotonic() + READY_TIMEOUT_S
        for plan, handle in zip(servers.plans, handles, strict=True):
            while not plan.ready():
                self._check_wanted()
                code = handle.reap()
                if code is not None and time.monotonic() < deadline:
                    time.sleep(0.3)  # a killed predecessor may still hold the files for a moment
                    handle.start(monotonic_ms())
                elif time.monotonic() > deadline:
                    tail = plan.log.read_text(errors="replace")[-600:] if plan.log.exists() else ""
                    raise ConfigError(f"the embedded {plan.name} does not come up; the end of {plan.log}:\n{tail}")
                time.sleep(0.02)

    def _set_up(self, servers: Servers) -> None:
        log = self._logs / "setup.log"
        setup = Handle(
            ChildSpec(
                "setup",
                Phase.MODULE,
                launch_module("setup", log, lambda: bootstrap.set_up(self._settings, servers, self._lead)),
            )
        )
        setup.start(monotonic_ms())
        while (code := setup.reap()) is None:
            self._check_wanted(setup)
            time.sleep(0.01)
        if code:
            raise ConfigError(f"the database could not be set up:\n{log.read_text(errors='replace')[-800:]}")

    def _start_modules(self, term: int) -> None:
        """Make rings and pulses anew, and the modules of this term on them."""
        module_main, status = load_modules()
        unlink_leftovers(self._instance)
        names = [role.value for role in START_ORDER]
        self._wiring = Wiring(self._instance)
        self._pulses = PulsePage.create(Segment.create(self._instance, "pulses", PulsePage.segment_bytes(names)), names)
        self._status = status(self._servers.redis_url, self._wiring, self._pulses)
        site = self._servers.site(term)
        for role in START_ORDER:
            main = module_main(role, self._settings, site, self._wiring, self._pulses, self._lead)
            launch = launch_module(role, self._logs / f"{role}.log", main)
            self._start(ChildSpec(role.value, Phase.MODULE, launch, signal.SIGTERM, 3_000, PURPOSE[role]))

    def _start_keeper(self, servers: Servers) -> None:
        identity = bootstrap.identity(self._settings)
        main = keeper_main(servers.engine_url, identity, self._lead, self._settings.core)
        launch = launch_module("lead", self._logs / "lead.log", main)
        self._start(ChildSpec("lead", Phase.LEAD, launch, signal.SIGTERM, 2_000, "which of several Cores leads"))

    def _start_core(self, servers: Servers) -> None:
        if not any(handle.spec.phase is Phase.API for handle in self._handles):
            self._start_api(servers)
        if self._settings.worker.enabled:
            for number, workers in enumerate(self._settings.worker.programs(len(os.sched_getaffinity(0))), 1):
                self._start(self._worker_spec(servers, "worker" if number == 1 else f"worker-{number}", workers))

    def _start_api(self, servers: Servers) -> None:
        config = bootstrap.write_api_config(self._settings, servers)
        gunicorn = [sys.executable, "-m", "gunicorn", "-c", str(GUNICORN_CONF)]
        environ = {**os.environ, "SWARMSYNC_API_CONFIG": str(config)}
        launch_api = launch_program(gunicorn, self._logs / "api.log", environ)
        self._start(ChildSpec("api", Phase.API, launch_api, signal.SIGTERM, 4_000, "HTTP: jobs, workers, logs, events"))

    def _await_api(self) -> None:
        """Wait until the API takes connections: who reads that Core is up may call it. One that ends is minded."""
        api = next(handle.pid for handle in self._handles if handle.spec.phase is Phase.API)
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._settings.api.bind, self._settings.api.bind)  # noqa: S104 compared, not bound
        deadline = time.monotonic() + API_PATIENCE_S
        while time.monotonic() < deadline:
            self._check_wanted()
            if os.waitid(os.P_PID, api, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return
            with contextlib.suppress(OSError), socket.create_connection((host, self._settings.api.port), 0.2):
                return
            time.sleep(0.01)

    def _worker_spec(self, servers: Servers, name: str, workers: range) -> ChildSpec:
        path = self._settings.data_path / "private" / f"{name}.json"
        site = WorkerSite(
            bootstrap.nats_login(servers, "worker" if self._settings.worker.runtime == "simulated" else JOIN),
            servers.passwords["join_token"],
            str(self._settings.data_path / "worker"),
            self._settings.worker,
            servers.local_token,
            self._settings.logs.format,
            numbers=(workers.start, workers.stop),
        )
        bootstrap.write_private(path, msgspec.json.encode(site).decode())
        argv = [sys.executable, "-m", "worker.program", str(path)]
        launch = launch_program(argv, self._logs / f"{name}.log", os.environ)
        return ChildSpec(name, Phase.WORKER, launch, signal.SIGTERM, 9_000, "runs containers on this machine")

    def _start(self, spec: ChildSpec) -> Handle:
        handle = Handle(spec)
        self._handles.append(handle)
        self._start_again(handle)
        return handle

    def _start_again(self, handle: Handle) -> None:
        now_ms = monotonic_ms()
        if handle.spec.phase is Phase.MODULE:
            self._wiring.fence(Role(handle.spec.name), handle.starts + 1)
            self._pulses.expect(handle.spec.name, handle.starts + 1, time.monotonic_ns())
            self._watches[handle.spec.name] = liveness.Watch()
        handle.start(now_ms)
        if handle.spec.phase is Phase.MODULE:
            self._pulses.started(handle.spec.name, handle.pid)

    # ------------------------------------------------ lead

    def _follow_lead(self) -> None:
        """Start the modules when this Core leads; end them when it does not any more, or leads anew."""
        term = self._lead.term(monotonic_ms())
        if term == self._term:
            return
        if self._term:
            self._say("the lead is lost; standing by")
            self._step_down()
        self._term = term
        if term:
            if not self._servers.alone:
                self._say(f"leading, term {term}")
            self._start_modules(term)

    def _step_down(self) -> None:
        self._status = None
        modules = [handle for handle in self._handles if handle.spec.phase is Phase.MODULE]
        self._handles = [handle for handle in self._handles if handle.spec.phase is not Phase.MODULE]
        for handle in modules:
            handle.signal(signal.SIGKILL)  # what they had under way is refused by PostgreSQL; nothing is to be saved
        for handle in self._handles:
            if handle.spec.phase is Phase.LEAD:
                handle.signal(signal.SIGKILL)  # it may be what stands still
        while any(handle.pid for handle in modules):
            for handle in modules:
                handle.reap()
            time.sleep(0.005)
        self._watches.clear()
        self._wiring.close()

    # ------------------------------------------------ keep

    def _keep(self) -> None:
        while self._turn():
            pass

    def _turn(self) -> bool:
        """One look at everything; False when it is time to stop."""
        try:
            number = self._signals.get(timeout=self._pause_s())
            while True:
                if number in (signal.SIGTERM, signal.SIGINT):
                    return False
                if number == signal.SIGHUP:
                    self._reload()
                number = self._signals.get_nowait()
        except Empty:
            pass
        self._follow_lead()
        now_ms = monotonic_ms()
        for handle in self._handles:
            self._mind(handle, now_ms)
        if self._status is not None:
            self._status.tell(self._handles, time.monotonic_ns())
        return True

    def _pause_s(self) -> float:
        """Return how long to wait for the next look; ages of pulses are to be seen several times until one is late."""
        if not self._servers.alone or not all(handle.pid for handle in self._handles):
            return TURN_S
        return max(TURN_S, min(CALM_S, self._limits.late_ms / 4_000))

    def _mind(self, handle: Handle, now_ms: int) -> None:
        code = handle.reap()
        if code is not None:
            if handle.spec.phase is Phase.MODULE:
                self._pulses.gone(handle.spec.name)
            handle.restarts_ms, decision = on_exit(handle.spec.name, code, now_ms, handle.restarts_ms, self._budget)
            if isinstance(decision, GiveUp):
                raise ConfigError(f"{decision.message} ({self._logs / handle.spec.name}.log)")
            self._say(f"{handle.spec.name} ended ({_exit_words(code)}); starting it again")
            handle.next_start_ms, handle.failing = decision.at_ms, decision.failing
        if handle.pid == 0 and handle.next_start_ms is not None and handle.next_start_ms <= now_ms:
            try:
                self._start_again(handle)
            except OSError as problem:  # no room for its log, no memory for a fork: later, maybe
                self._say(f"{handle.spec.name} cannot be started ({problem.strerror}); trying again")
                handle.next_start_ms = now_ms + self._budget.backoff_max_ms
        if handle.pid and handle.spec.phase is Phase.MODULE:
            self._judge(handle, now_ms)

    def _judge(self, handle: Handle, now_ms: int) -> None:
        name = handle.spec.name
        pulse = self._pulses.read(name)
        limits = self._limits if pulse.pulse_ns else self._start_limits
        self._watches[name], verdict = liveness.judge(
            self._watches[name], pulse.age_ms(time.monotonic_ns()), now_ms, limits
        )
        match verdict:
            case liveness.Late(age_ms=age, warn=True):
                self._say(f"{name} is late: no pulse for {age} ms")
            case liveness.Hung(age_ms=age, abort=True):
                self._say(f"{name} hangs: no pulse for {age} ms; its traceback goes to its log")
                handle.signal(signal.SIGABRT)
                handle.signal(signal.SIGCONT)  # one that was stopped ends by it as well, before it does anything else
            case liveness.Kill():
                handle.signal(signal.SIGKILL)

    def _reload(self) -> None:
        """SIGHUP: the API reads its configuration anew; everything else needs a restart."""
        for handle in self._handles:
            if handle.spec.phase is Phase.API:
                handle.signal(signal.SIGHUP)
        self._say("reloaded the API")

    def _check_wanted(self, *also: Handle) -> None:
        """While starting: a signal to stop is obeyed at once."""
        try:
            while True:
                if self._signals.get_nowait() in (signal.SIGTERM, signal.SIGINT):
                    for handle in also:
                        handle.signal(signal.SIGKILL)
                    raise KeyboardInterrupt
        except Empty:
            return

    # ------------------------------------------------ stop

    def _stop_everything(self, *, alone: bool) -> None:
        """Intake first, consumers last, each phase with a deadline. Others that stand by get the lead first."""
        order = [(Phase.API, Phase.WORKER), (Phase.MODULE,), (Phase.LEAD,), (Phase.SERVER,)]
        for phases in order if alone else [*order[1:3], order[0], order[3]]:
            group = [handle for handle in reversed(self._handles) if handle.spec.phase in phases]
            if phases == (Phase.MODULE,):
                for handle in group:
                    self._stop([handle])
            else:
                self._stop(group)

    def _stop(self, group: Sequence[Handle]) -> None:
        for handle in group:
            handle.next_start_ms = None
            handle.signal(handle.spec.stop_signal)
        deadline_ms = monotonic_ms() + max((handle.spec.stop_grace_ms for handle in group), default=0)
        while any(handle.pid for handle in group):
            for handle in group:
                handle.reap()
            if monotonic_ms() > deadline_ms:
                for handle in group:
                    if handle.pid:
                        self._say(f"{handle.spec.name} did not stop in time and was killed")
                        handle.signal(signal.SIGKILL)
                deadline_ms += 60_000
            time.sleep(0.01)


def _exit_words(code: int) -> str:
    if code < 0:
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"
