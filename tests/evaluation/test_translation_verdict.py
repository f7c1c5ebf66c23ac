"""The plain verdict on a translation, for every way it can end."""

import numpy as np
import pytest

from connectomics.errors import InputError
from connectomics.evaluation.translation_verdict import verdict

REAL = [1.0, 1.1, 0.9]


@pytest.mark.parametrize(
    ("direct", "translated", "said"),
    [
        ([2.0, 2.1, 1.9], [1.4, 1.5, 1.3], "translation helped, by 0.600 bits, 60% of the gap"),
        ([2.0, 2.1, 1.9], [2.3, 2.4, 2.2], "did not help: it cost 0.300 bits, -30% of the gap"),
        ([2.0, 2.1, 1.9], [2.3, 1.6, 1.9], "no clear difference"),
        ([1.1, 1.4, 0.8], [1.0, 1.0, 1.0], "no gap to close"),
    ],
)
def test_it_says_what_the_figures_say(direct, translated, said):
    assert said in str(verdict(direct, translated, REAL))


def test_spreads_are_those_of_the_differences_within_a_seed():
    found = verdict([2.0, 3.0], [1.5, 2.5], [1.0, 2.0])
    assert (found.gap, found.gap_spread, found.gain_spread) == (1.0, 0.0, 0.0)
    assert found.recovered == 0.5
    assert np.isnan(verdict([1, 2], [1, 2], [1, 2]).recovered)


def test_one_seed_says_nothing():
    with pytest.raises(InputError, match="two or more"):
        verdict([2.0], [1.5], [1.0])
    with pytest.raises(InputError, match="as many"):
        verdict([2.0, 2.1], [1.5, 1.6], [1.0])
