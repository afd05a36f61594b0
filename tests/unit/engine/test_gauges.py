from engine.gauges import LOOKS_MAX, RingGauge


def looked(*looks):
    gauge = RingGauge()
    for now_ms, put, taken in looks:
        gauge.look(now_ms, put=put, taken=taken)
    return gauge


def test_nothing_was_seen_yet():
    assert (looked().taken_per_s(), looked().oldest_ms()) == (0.0, 0)


def test_a_ring_that_is_read_at_once_holds_nothing_old():
    assert looked((0, 5, 5), (500, 9, 9)).oldest_ms() == 0


def test_the_oldest_record_waits_since_it_was_first_seen():
    stuck = looked((0, 10, 10), (500, 12, 10), (1000, 30, 10), (1500, 30, 10))
    assert stuck.oldest_ms() == 1000
    moving = looked((0, 10, 10), (500, 12, 10), (1000, 30, 12), (1500, 30, 12))
    assert moving.oldest_ms() == 500


def test_a_record_that_waits_for_longer_than_looks_are_kept_waits_since_it_was_first_seen():
    looks = LOOKS_MAX + 50
    gauge = looked(*((500 * n, 10 if n < 3 else 20, 0) for n in range(looks)))
    assert gauge.oldest_ms() == 500 * (looks - 1)
    gauge.look(500 * looks, put=20, taken=10)  # those that came after it were seen by what is still kept
    assert 500 * (LOOKS_MAX - 2) <= gauge.oldest_ms() <= 500 * (looks - 3)
    gauge.look(500 * looks, put=20, taken=20)
    assert gauge.oldest_ms() == 0


def test_the_pace_is_that_of_the_last_two_seconds():
    assert looked((0, 0, 0), (1000, 0, 5000), (3000, 0, 5000), (5000, 0, 5100)).taken_per_s() == 50.0


def test_a_ring_that_was_made_anew_has_no_negative_pace():
    assert looked((0, 50, 50), (1000, 2, 2)).taken_per_s() == 0.0
