import xml.etree.ElementTree as ET

import pytest

from bench.plots import Chart, render, short, ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0, 0.9, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0, 0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0, 1_200, [0, 500, 1_000, 1_500]),
    ],
)
def test_ticks_are_round_and_cover_the_values(low, high, expected):
    assert ticks(low, high, logarithmic=False) == pytest.approx(expected)


def test_logarithmic_ticks_are_powers_of_ten():
    assert ticks(3, 2_000, logarithmic=True) == [1, 10, 100, 1_000, 10_000]


def test_numbers_are_short():
    assert [short(value) for value in (0.254, 12, 1_500, 3.4e6, 2e9)] == ["0.254", "12", "1.5k", "3.4M", "2G"]


def _shapes(svg, kind):
    return list(ET.fromstring(svg).iter(f"{{http://www.w3.org/2000/svg}}{kind}"))


def test_words_make_bars_whose_heights_are_their_values():
    svg = render([Chart("Rates", "jobs/s", {"ours": [("a", 100.0), ("b", 50.0)], "<theirs>": [("a", 25.0)]})])
    heights = [float(shape.get("height")) for shape in _shapes(svg, "rect")[1:4]]
    assert heights[0] == pytest.approx(2 * heights[1], rel=0.01)
    assert heights[0] == pytest.approx(4 * heights[2], rel=0.01)
    assert "&lt;theirs&gt;" in svg


def test_numbers_make_lines_and_charts_stand_below_each_other():
    chart = Chart("Rate", "1/s", {"ours": [(100, 5.0), (10_000, 6.0)]}, x_unit="workers")
    svg = render([chart, chart])
    assert len(_shapes(svg, "polyline")) == 2
    one = int(ET.fromstring(render([chart])).get("height"))
    assert int(ET.fromstring(svg).get("height")) == 2 * one


def test_a_chart_without_values_takes_no_place():
    assert ET.fromstring(render([Chart("Nothing", "s", {"ours": []})])).get("height") == "0"
