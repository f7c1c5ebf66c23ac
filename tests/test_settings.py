"""Settings refuse what they do not know, TOML and overrides become settings, and the source is left alone."""

import tomllib
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from connectomics.errors import SettingsError
from connectomics.settings import Settings, apply_overrides, read_toml


class Inner(Settings):
    """A section."""

    threshold: float = Field(default=0.5, gt=0)
    """Where to stop."""
    names: tuple[str, ...] = ()
    """Some names."""


class Outer(Settings):
    """A stage."""

    inner: Inner = Inner()
    """A section."""
    flips: Literal[1, 2, 4] = 1
    """A choice of whole numbers."""


def test_defaults_and_values_and_docstrings() -> None:
    parsed = Outer.parse({"inner": {"threshold": 2}, "flips": 4})
    assert (parsed.inner.threshold, parsed.flips) == (2.0, 4)
    assert Outer() == Outer.parse({})
    assert Inner.model_fields["threshold"].description == "Where to stop."


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Inner().threshold = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"flip": 2}, r"recipe\.toml: unknown key 'flip'\. Did you mean 'flips'\?"),
        ({"inner": {"treshold": 2}}, r"unknown key 'inner\.treshold'\. Did you mean 'threshold'\?"),
        ({"inner": {"zzz": 2}}, r"unknown key 'inner\.zzz'\. Known: names, threshold\."),
        ({"inner": {"threshold": "high"}}, r"'inner\.threshold': .*number.*\(got 'high'\)"),
        ({"inner": {"threshold": 0}}, r"'inner\.threshold': .*greater than 0 \(got 0\)"),
        ({"flips": 3}, r"'flips': .*1, 2 or 4 \(got 3\)"),
        ({"flip": 2, "inner": 3}, r"'inner': .*; unknown key 'flip'"),
    ],
)
def test_what_does_not_fit_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        Outer.parse(values, "recipe.toml")
    assert "\n" not in str(caught.value)


def test_the_text_of_a_number_is_a_choice_of_numbers() -> None:
    assert Outer.parse({"flips": "4"}).flips == 4
    with pytest.raises(SettingsError, match="got '3'"):
        Outer.parse({"flips": "3"})


def test_toml_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('flips = 2\n[inner]\nnames = ["a"]\n')
    assert Outer.parse(read_toml(path)) == Outer(inner=Inner(names=("a",)), flips=2)


@pytest.mark.parametrize("content", [b"a = = 1", b"\xff\xfe", b"[a]\n[a]\n"])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"broken\.toml: not valid TOML"):
        read_toml(path)
    with pytest.raises(SettingsError, match=r"missing\.toml: no such"):
        read_toml(tmp_path / "missing.toml")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_toml(tmp_path)


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("a.b=1", 1),
        ("a.b=1.5", 1.5),
        ("a.b = true", True),
        ("a.b=[1, 2]", [1, 2]),
        ('a.b="1"', "1"),
        ("a.b=word", "word"),
        ("a.b=8GB", "8GB"),
        ("a.b=path/to=x", "path/to=x"),
        ("a.b=", ""),
    ],
)
def test_an_override_is_read_as_toml_and_a_bare_word_as_text(override: str, value: object) -> None:
    given_values = {"a": {"b": 0, "c": 3}, "d": 4}
    assert apply_overrides(given_values, [override]) == {"a": {"b": value, "c": 3}, "d": 4}
    assert given_values == {"a": {"b": 0, "c": 3}, "d": 4}, "the source was changed"


def test_an_override_may_make_a_section_and_the_last_one_wins() -> None:
    assert apply_overrides({}, ["a.b.c=1", "a.b.c=2", "d=3"]) == {"a": {"b": {"c": 2}}, "d": 3}


@pytest.mark.parametrize("override", ["a", "a.b.c=1"])
def test_an_override_that_makes_no_sense_is_refused(override: str) -> None:
    with pytest.raises(SettingsError, match="--set"):
        apply_overrides({"a": {"b": 1}}, [override])


PLAIN = st.one_of(st.integers(-(2**62), 2**62), st.booleans(), st.lists(st.integers(-9, 9)))


@given(st.dictionaries(st.sampled_from("abc"), PLAIN), st.sampled_from("abc"), PLAIN)
def test_an_override_equals_the_same_line_of_toml(values: dict[str, Any], key: str, value: Any) -> None:
    text = f"{key}={str(value).lower()}"
    assert apply_overrides(values, [text]) == values | tomllib.loads(text)
