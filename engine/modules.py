"""How each module is built inside its own process: settings and connections in, a running Service out."""

import time
from collections.abc import Callable
from typing import Any

import uvloop

from conf.settings import Settings
from engine.dispatcher.service import DispatcherService
from engine.harvester.registry import Limits
from engine.harvester.service import HarvesterService
from engine.hibernator.service import HibernatorService
from engine.lead_word import LeadWord
from engine.logger.service import LoggerService
from engine.pulse_system.pulse_page import ModuleState, PulsePage
from engine.scheduler.service import SchedulerService
from engine.service import Service
from engine.service_channels import Role, Wiring
from engine.site import Site
from swarmsync import collector
from swarmsync.seal import Sealer
from swarmsync.store.pool import ENGINE_PLANS, Store


def module_main(
    role: Role, settings: Settings, site: Site, wiring: Wiring, pulses: PulsePage, word: LeadWord
) -> Callable[[], None]:
    """Return what the forked process runs: it ends when the module was told to stop."""

    def main() -> None:
        uvloop.run(_live(role, settings, site, wiring, pulses, word))

    return main


async def _live(role: Role, settings: Settings, site: Site, wiring: Wiring, pulses: PulsePage, word: LeadWord) -> None:
    slot = pulses.slot(role)
    store = await Store.open(
        site.engine_url,
        size=settings.database.pool_size,
        application=f"swarmsync {role}",
        acquire_timeout_s=settings.database.acquire_timeout_s,
        statement_timeout_ms=settings.database.statement_timeout_ms,
        plans=ENGINE_PLANS,
        term=site.term,
    )
    common: dict[str, Any] = {
        "wiring": wiring,
        "pulse": settings.pulse,
        "beat": lambda: slot.beat(time.monotonic_ns()),
        "leads": lambda: word.term(time.monotonic_ns() // 1_000_000) == site.term,
        "tell_lag": lambda beat, lag_ns: slot.lagged(beat.value, lag_ns),
    }
    slot.enter(ModuleState.RUNNING, time.monotonic_ns())
    collector.relax()
    await _build(role, settings, site, store, common).run()
    slot.enter(ModuleState.STOPPED, time.monotonic_ns())


def _build(role: Role, settings: Settings, site: Site, store: Store, common: dict[str, Any]) -> Service:
    limits = settings.workers
    match role:
        case Role.SCHEDULER:
            places, jobs = settings.scheduler.batch_places_max, settings.scheduler.backlog_jobs_max
            return SchedulerService(store, places_max=places, backlog_jobs_max=jobs, **common)
        case Role.DISPATCHER:
            return DispatcherService(
                store,
                site.nats_url,
                receipt_ms=settings.dispatcher.receipt_ms,
                resends_max=settings.dispatcher.resends_max,
                orders_max=settings.dispatcher.orders_per_message_max,
                sealer=Sealer.of(site.seal_keys),
                **common,
            )
        case Role.HARVESTER:
            return HarvesterService(
                store,
                site.nats_url,
                limits=Limits(limits.suspect_ms, limits.lost_ms, limits.lease_ms, limits.lease_slack_ms),
                pulse_ms=limits.pulse_ms,
                crash_limit=limits.crash_limit,
                quarantine_jobs=limits.quarantine_jobs,
                join_token=site.join_token,
                nats_config=site.nats_config,
                **common,
            )
        case Role.HIBERNATOR:
            return HibernatorService(store, **common)
        case Role.LOGGER:
            days = settings.retention
            keep = {"output_chunks": days.output_days, "log_records": days.log_days, "job_events": days.event_days}
            return LoggerService(
                store,
                site.nats_url,
                keep_days=keep,
                sealer=Sealer.of(site.seal_keys),
                webhooks=settings.webhooks,
                as_json=settings.logs.format == "json",
                **common,
            )
