import signal

from bench import transports
from bench.scenarios import rings


def test_every_transport_carries_messages_whole_and_in_order(tmp_path):
    """The smoke test: the peers that are installed here, and always Python's own and ours."""
    for name, make in transports.transports().items():
        transport = make()
        messages = [bytes([number]) * 200 for number in range(5)]

        def write(transport=transport, messages=messages):
            for message in messages:
                transport.put(message)
            signal.pause()  # until it is killed: a queue sends from a thread of its own

        writer = rings._fork(write)
        seen = []
        while len(seen) < len(messages):
            seen += transport.take()
        rings._end(writer)
        transport.close()
        assert seen == messages, name


def test_rates_and_latencies_are_measured(monkeypatch):
    two = {name: make for name, make in transports.transports().items() if name in ("ring", "Pipe")}
    monkeypatch.setattr(rings, "transports", lambda: two)
    monkeypatch.setattr(rings, "_ROUNDS", {True: (0.02, 1, 20)})
    figures = rings.measure(quick=True, say=lambda _text: None)
    assert figures["batch 64"]["records_per_s"]["ring"] > 0
    assert set(figures["batch 64"]["ring_to"]) == {"Pipe"}
    assert figures["one_way_us"]["ring"]["n"] >= 18
    assert [chart.unit for chart in rings.charts(figures)] == ["records/s", "us"]
