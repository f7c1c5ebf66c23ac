"""Amounts of memory, and tiles chosen to keep to one."""

import pytest

from connectomics.errors import InputError, SettingsError
from connectomics.inference.memory import MemoryCost, TileRule, choose_tile, fixed_tile, parse_bytes
from connectomics.inference.settings import InferenceSettings

RULE = TileRule((16, 16, 16), (16, 16, 16), 32)
COST = MemoryCost(500_000_000, 600.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("8GB", 8e9), (" 500 mb", 5e8), ("1.5GiB", 1.5 * 2**30), ("2048", 2048), (".5TB", 5e11)],
)
def test_parse_bytes(text, expected):
    assert parse_bytes(text) == expected
    assert InferenceSettings(memory=text).memory == expected


@pytest.mark.parametrize("text", ["", "GB", "8 parsecs", "-1GB", "1e9"])
def test_parse_bytes_refuses(text):
    with pytest.raises(SettingsError, match="8GB"):
        parse_bytes(text)
    with pytest.raises(SettingsError, match="memory"):
        InferenceSettings.parse({"memory": text})


@pytest.mark.parametrize("budget", [1e9, 2e9, 4e9, 16e9])
@pytest.mark.parametrize("shape", [(250, 250, 250), (512, 512, 512), (20, 3000, 700), (5, 5, 5)])
def test_the_tile_keeps_to_the_budget(budget, shape):
    lattice = choose_tile(int(budget), COST, shape, RULE)
    assert COST.peak(lattice.largest) <= budget
    assert all(c % 32 == 0 for c in lattice.core)


def test_more_memory_never_computes_more():
    def work(budget):
        return sum(
            t.shape[0] * t.shape[1] * t.shape[2] for t in choose_tile(budget, COST, (300,) * 3, RULE).tiles()
        )

    assert work(10**9) > work(2 * 10**9) >= work(8 * 10**9)


def test_a_small_volume_is_cut_evenly():
    assert choose_tile(int(2.6e9), COST, (250, 250, 250), RULE).core == (128, 128, 128)


def test_too_little_memory_says_how_much():
    with pytest.raises(InputError, match=r"--memory 0\.\dGB"):
        choose_tile(400_000_000, COST, (250, 250, 250), RULE)


def test_a_given_edge_is_rounded_up_to_the_divisor():
    assert fixed_tile(100, (250, 250, 250), RULE).core == (112, 112, 112)
