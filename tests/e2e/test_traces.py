"""One trace of a job, from its submission to its end, as a collector receives it."""

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import urllib3
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.conftest import CoreProcess, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.e2e]

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    """Takes spans by OTLP over HTTP; refuses while `away`."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.away = False
        self.refused = 0
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = urllib3.response.GzipDecoder().decompress(body)
                if collector.away:
                    collector.refused += 1
                    self.send_response(400)
                    self.end_headers()
                    return
                assert self.path == "/v1/traces"
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    for scope in resource.scope_spans:
                        collector.spans += scope.spans
                self.send_response(200)
                self.end_headers()

            def log_message(self, *words: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/traces"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def of(self, job: str) -> dict[str, Any]:
        """The spans of a job's trace by name, once its own has come."""
        wait_until(lambda: any(attributes(span).get("swarmsync.job.id") == job for span in self.spans), 60)
        trace = next(s.trace_id for s in self.spans if attributes(s).get("swarmsync.job.id") == job)
        return {span.name: span for span in self.spans if span.trace_id == trace}


def submit(core: CoreProcess, spec: dict[str, Any], traceparent: str) -> str:
    """Submit as an instrumented program does."""
    local = json.loads((core.directory / "config" / "swarmsync" / "profiles.json").read_text())["profiles"]["local"]
    headers = {"Authorization": f"Bearer {local['token']}", "traceparent": traceparent}
    answer = urllib3.request("POST", f"{local['url']}/v1/jobs", json=spec, headers=headers)
    assert answer.status == 201, answer.data
    return answer.json()["id"]


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_trace_from_the_request_to_the_verdict(collector: Collector, make_core: Callable[..., CoreProcess]) -> None:
    core = make_core(f'[traces]\nendpoint = "{collector.url}"\n[worker]\nruntime = "process"\nname = "w1"\n')
    client = core.ready()
    spec = {"image": "i", "name": "traced", "command": ["sh", "-c", "sleep 0.3; exit 3"], "resources": {"cpus": 0.1}}
    job = submit(core, spec, f"00-{TRACE}-{SPAN}-01")
    assert client.wait(job, timeout_s=60)["exit_code"] == 3

    spans = collector.of(job)
    whole = spans["job"]
    assert (whole.trace_id.hex(), whole.parent_span_id.hex()) == (TRACE, SPAN)
    assert attributes(whole)["process.exit.code"] == 3
    assert attributes(whole)["swarmsync.job.name"] == "traced"
    assert whole.status.code == 2, "a failed job is an error"
    names = {"job", "submit", "queue", "attempt", "dispatch", "pull", "create", "start", "run", "collect", "verdict"}
    assert set(spans) == names
    inner = [spans[name] for name in ("dispatch", "pull", "create", "start", "run", "collect", "verdict")]
    assert {span.parent_span_id for span in inner} == {spans["attempt"].span_id}
    assert {spans[name].parent_span_id for name in ("submit", "queue", "attempt")} == {whole.span_id}
    for before, after in itertools.pairwise(inner):
        assert before.end_time_unix_nano == after.start_time_unix_nano
    for span in spans.values():
        assert whole.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= whole.end_time_unix_nano + 1e9
    assert spans["run"].end_time_unix_nano - spans["run"].start_time_unix_nano >= 0.1e9
    assert attributes(spans["attempt"])["swarmsync.worker"] == "w1"

    collector.away = True
    quiet = submit(core, spec, f"00-{'1' * 32}-{SPAN}-00")
    later = submit(core, spec, "nonsense")
    for one in (quiet, later):
        client.wait(one, timeout_s=60)
    wait_until(lambda: collector.refused > 0, 60)
    collector.away = False
    again = collector.of(later)
    assert again["job"].trace_id.hex() not in (TRACE, "1" * 32)
    assert again["job"].parent_span_id == b""
    assert not any(span.trace_id.hex() == "1" * 32 for span in collector.spans), "its caller did not want it sampled"
