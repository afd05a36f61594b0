import pytest

from engine.shared_resource.doorbell import RingReader
from engine.shared_resource.layout import CACHE_LINE_BYTES
from engine.shared_resource.segment import Segment
from engine.shared_resource.stats_page import PageCorrupt, StatsPage, ring_stats

ROWS = {"scheduler": [f"counter_{n}" for n in range(11)], "harvester": ["hints", "reports"], "idle": []}


@pytest.fixture
def page(instance):
    return StatsPage.create(Segment.create(instance, "stats", StatsPage.segment_bytes(ROWS)), ROWS)


def test_any_process_reads_the_page_by_its_name_alone(page, instance):
    page.counter("scheduler", "counter_10").set(2**64 - 1)
    page.counter("harvester", "hints").add()
    page.counter("harvester", "hints").add(4)
    seen = StatsPage.attach(Segment.attach(instance, "stats"))
    assert seen.rows == ("scheduler", "harvester", "idle")
    assert seen.counter("harvester", "hints").value == 5
    assert seen.row("scheduler")["counter_10"] == 2**64 - 1
    assert seen.snapshot() == {
        "scheduler": {f"counter_{n}": (2**64 - 1 if n == 10 else 0) for n in range(11)},
        "harvester": {"hints": 5, "reports": 0},
        "idle": {},
    }


def test_each_counter_has_a_word_of_its_own_and_no_line_has_two_rows(page):
    counters = [(row, name) for row, names in ROWS.items() for name in names]
    for value, (row, name) in enumerate(counters, 1):
        page.counter(row, name).set(value)
    assert [page.counter(row, name).value for row, name in counters] == list(range(1, len(counters) + 1))
    lines = [{page.counter(row, name)._index * 8 // CACHE_LINE_BYTES for name in names} for row, names in ROWS.items()]
    assert not lines[0] & lines[1]


def test_the_last_word_lies_inside_the_promised_bytes(page):
    last = page.counter("harvester", "reports")._index
    assert (last + 1) * 8 <= StatsPage.segment_bytes(ROWS)


def test_counters_wrap_instead_of_failing(page):
    counter = page.counter("harvester", "hints")
    counter.set(2**64 - 1)
    counter.add(2)
    assert counter.value == 1


def test_unknown_rows_and_counters_are_refused(page):
    with pytest.raises(KeyError):
        page.counter("nobody", "hints")
    with pytest.raises(KeyError, match=r"harvester\.turns"):
        page.counter("harvester", "turns")


def test_what_is_no_page_is_refused(instance, page):
    with pytest.raises(PageCorrupt, match="no page"):
        StatsPage.attach(Segment.create(instance, "empty", 4096))
    segment = Segment.attach(instance, "stats")
    segment.memory[70] ^= 1
    with pytest.raises(PageCorrupt, match="damaged"):
        StatsPage.attach(segment)
    with pytest.raises(ValueError, match="too small"):
        StatsPage.create(segment, {f"row{n}": ["x"] for n in range(1000)})


def test_a_ring_shows_its_counters(make_ring):
    ring = make_ring()
    while ring.put([b"x" * 1000]):
        pass
    ring.count_dropped(3)
    put = ring.records_put
    ring.take(1)
    ring.abandon()
    RingReader(ring, None).ring.set_reader_sleeps(True)
    ring.put([b"y"])
    ring.fence_writer(2)
    stats = ring_stats(ring)
    assert (stats.records_put, stats.records_taken, stats.records_abandoned) == (put + 1, 1, put - 1)
    assert (stats.records_dropped, stats.puts_refused, stats.abandons) == (3, 1, 1)
    assert (stats.capacity_bytes, stats.used_bytes) == (4096, 64)
    assert stats.reader_sleeps
    assert (stats.writer_epoch, stats.reader_epoch) == (2, 0)
