"""Units of length, by name and by symbol."""

import pytest

from connectomics.errors import GeometryError
from connectomics.io.units import is_length, nanometres


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("nanometer", 1),
        ("NM", 1),
        ("µm", 1e3),
        ("μm", 1e3),
        ("\\u00B5m", 1e3),
        (" um ", 1e3),
        ("angstrom", 0.1),
        ("m", 1e9),
    ],
)
def test_names_and_symbols(unit, expected):
    assert is_length(unit) and nanometres(unit, "drawn") == expected


@pytest.mark.parametrize("unit", ["pixel", "", "second", None, 4])
def test_what_is_no_length(unit):
    assert not is_length(unit)
    with pytest.raises(GeometryError, match="drawn: unit"):
        nanometres(unit, "drawn")
