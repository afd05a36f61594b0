"""Requests a second and their latency on the hot routes, over connections that stay open; PostgreSQL's fsync is on.

The load comes from this process and shares the machine with Core. Submitted jobs are due in an hour, so that nothing
but the API and PostgreSQL works. Each route: a closed loop over 1, 8 and 32 connections.
"""

import asyncio
import json
from typing import Any, Final

import uvloop

from bench.harness import core
from bench.load import Connection, closed_loop, request
from bench.plots import Chart
from bench.results import Say, spread

SPEC: Final = {"image": "simulated", "name": "bench", "delay": "1h"}
BATCHES: Final = (100, 1_000)
#: Quick or not: seconds per cell, connections.
_CELLS: Final = {True: (0.4, (8,)), False: (4.0, (1, 8, 32))}
_CONFIG: Final = "[api]\nrequests_per_s = 1000000\n"


def measure(*, quick: bool, say: Say) -> dict[str, Any]:
    with core("simulated", config=_CONFIG) as there:
        return uvloop.run(_measure(there.url, there.token, *_CELLS[quick], say))


async def _measure(url: str, token: str, seconds: float, connections: tuple[int, ...], say: Say) -> dict[str, Any]:
    single = json.dumps(SPEC).encode()
    line = await Connection.open(url)
    made = json.loads((await line.ask(request("POST", "/v1/jobs", token, single))).body)
    line.close()
    routes = {
        "POST /v1/jobs, one": request("POST", "/v1/jobs", token, single),
        "POST /v1/jobs/validate": request("POST", "/v1/jobs/validate", token, single),
        "GET /v1/jobs/ID": request("GET", f"/v1/jobs/{made['id']}", token),
        "GET /v1/jobs, page of 100": request("GET", "/v1/jobs?limit=100", token),
        "GET /v1/jobs/ID/why": request("GET", f"/v1/jobs/{made['id']}/why", token),
        "GET /v1/stats": request("GET", "/v1/stats", token),
        "GET /v1/workers": request("GET", "/v1/workers", token),
    }
    figures: dict[str, Any] = {}
    for count in connections:
        for name, text in routes.items():
            say(f"{name}, {count} connections")
            figures.setdefault(name, {})[f"{count} connections"] = await _cell(url, text, count, seconds)
    for size in BATCHES:
        text = request("POST", "/v1/jobs", token, json.dumps({"jobs": [SPEC] * size}).encode())
        say(f"batches of {size}")
        cell = await _cell(url, text, 4, seconds)
        cell["jobs_per_s"] = round(cell["requests_per_s"] * size)
        figures[f"POST /v1/jobs, {size}"] = {"4 connections": cell}
    await asyncio.sleep(0)
    return {"unit": "requests/s", "routes": figures}


async def _cell(url: str, text: bytes, connections: int, seconds: float) -> dict[str, Any]:
    took_ms, took_s = await closed_loop(url, lambda: text, connections, seconds)
    return {"requests_per_s": round(len(took_ms) / took_s, 1), "ms": spread(took_ms)}


def charts(figures: dict[str, Any]) -> list[Chart]:
    routes = figures["routes"]
    series: dict[str, list[tuple[str | float, float]]] = {}
    for name, cells in routes.items():
        for connections, cell in cells.items():
            if "jobs_per_s" not in cell:
                series.setdefault(connections, []).append(
                    (name.removeprefix("GET ").removeprefix("POST "), cell["requests_per_s"])
                )
    return [Chart("The API's hot routes", "requests/s", series)]
