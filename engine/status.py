"""What the supervisor tells CoreInspect about its children, in a hash of Redis: more often while somebody looks.

While nobody does, a child that began or ended is told of within a second, and figures alone every five.
"""

import json
from collections.abc import Sequence
from typing import Final

import psutil
import redis

from engine.gauges import RingGauge
from engine.pulse_system.pulse_page import PulsePage
from engine.service_channels import CHANNELS, Channel, Role, Wiring
from engine.service_handles import Handle, Phase
from engine.shared_resource.stats_page import ring_stats
from engine.supervision import Condition

WATCHED_EVERY_NS: Final = 250_000_000
UNWATCHED_EVERY_NS: Final = 950_000_000
#: Looking at ten processes costs more than a module at rest.
FIGURES_EVERY_NS: Final = 4_700_000_000
STATUS_KEY: Final = "swarmsync:modules"
#: The API keeps it there while figures are asked for.
WATCHED_KEY: Final = "swarmsync:modules:watched"
#: Figures that nobody renews are gone after this long: an engine that is dead is not shown as alive.
KEEP_S: Final = 10


class Status:
    """Looks at processes, pulses and rings; a Redis that is away is skipped."""

    def __init__(self, redis_url: str, wiring: Wiring, pulses: PulsePage) -> None:
        self._redis = redis.Redis.from_url(redis_url, socket_timeout=0.2, socket_connect_timeout=0.2)
        self._wiring = wiring
        self._pulses = pulses
        self._processes: dict[int, psutil.Process] = {}
        self._gauges = {channel.name: RingGauge() for channel in CHANNELS}
        self._looked_ns = self._told_ns = 0
        self._every_ns = WATCHED_EVERY_NS
        self._told_of: list[tuple[int, int, Condition]] = []

    def tell(self, handles: Sequence[Handle], now_ns: int) -> None:
        """Write the figures when it is time again."""
        if now_ns - self._looked_ns < self._every_ns:
            return
        self._looked_ns = now_ns
        children = [(handle.pid, handle.starts, handle.condition) for handle in handles]
        if children == self._told_of and now_ns - self._told_ns < FIGURES_EVERY_NS and not self._is_watched():
            return
        rows = {handle.spec.name: json.dumps(self._row(handle, now_ns)) for handle in handles}
        self._wiring.let_go()  # reading their counters touched pages that would count as ours
        self._processes = {
            handle.pid: self._processes[handle.pid] for handle in handles if handle.pid in self._processes
        }
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.hset(STATUS_KEY, mapping=rows)  # type: ignore[arg-type]  # the stub's key type is invariant
                pipeline.expire(STATUS_KEY, KEEP_S)
                pipeline.exists(WATCHED_KEY)
                *_, watched = pipeline.execute()
            self._told_ns, self._told_of = now_ns, children
            self._every_ns = WATCHED_EVERY_NS if watched else UNWATCHED_EVERY_NS
        except redis.RedisError:
            return

    def _is_watched(self) -> bool:
        """Tell whether figures alone are asked for; a Redis that is away asks for none."""
        if self._every_ns == WATCHED_EVERY_NS:
            return True
        try:
            return bool(self._redis.exists(WATCHED_KEY))
        except redis.RedisError:
            return False

    def _row(self, handle: Handle, now_ns: int) -> dict[str, object]:
        name = handle.spec.name
        row: dict[str, object] = {
            "name": name,
            "purpose": handle.spec.purpose,
            "kind": handle.spec.phase.value,
            "state": handle.condition.value,
            "pid": handle.pid,
            "restarts": max(0, handle.starts - 1),
            "last_exit": handle.last_exit,
        }
        if handle.pid:
            try:
                process = self._processes.get(handle.pid) or psutil.Process(handle.pid)  # which reads /proc
                self._processes[handle.pid] = process
                row["memory_bytes"] = process.memory_info().rss
                row["cpu_percent"] = process.cpu_percent()
            except psutil.Error:
                self._processes.pop(handle.pid, None)
        if handle.spec.phase is Phase.MODULE:
            pulse = self._pulses.read(name)
            row["pulse_age_ms"] = pulse.age_ms(now_ns)
            row["pulse_lag_ms"] = {beat: round(lag_ns / 1e6, 3) for beat, lag_ns in pulse.lag_ns.items()}
            row["turns"] = pulse.turns
            row["rings"] = {
                channel.name: self._ring(channel, now_ns) for channel in CHANNELS if channel.reader is Role(name)
            }
        return row

    def _ring(self, channel: Channel, now_ns: int) -> dict[str, object]:
        """Return the figures of a ring that this module reads."""
        stats = ring_stats(self._wiring.ring(channel.name))
        gauge = self._gauges[channel.name]
        taken = stats.records_taken + stats.records_abandoned
        gauge.look(now_ns // 1_000_000, put=stats.records_put, taken=taken)
        return {
            "from": channel.writer.value,
            "fill": round(stats.used_bytes / stats.capacity_bytes, 4),
            "put": stats.records_put,
            "taken": stats.records_taken,
            "waiting": max(stats.records_put - taken, 0),
            "dropped": stats.records_dropped,
            "taken_per_s": round(gauge.taken_per_s(), 1),
            "oldest_ms": gauge.oldest_ms(),
        }
