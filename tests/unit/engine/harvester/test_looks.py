"""Looks at the feed become rare while nothing happens, and frequent again at once."""

from engine.harvester.looks import BEATS_MAX, Looks


def beats_until_look(looks: Looks) -> int:
    beats = 1
    while not looks.beat():
        beats += 1
    return beats


def test_quiet_makes_looks_rare_and_news_makes_them_frequent():
    looks, gaps = Looks(), []
    for _ in range(5):
        gaps.append(beats_until_look(looks))
        looks.looked(news=False)
    assert gaps == [1, 2, 4, BEATS_MAX, BEATS_MAX]
    looks.looked(news=True)
    assert beats_until_look(looks) == 1
