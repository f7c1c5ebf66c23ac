"""Errors carry their exit code, and an unknown name is answered with the nearest known one."""

import pytest

from connectomics import errors
from connectomics.errors import ConnectomicsError, InputError, RunFailed, did_you_mean


def test_what_the_caller_did_wrong_is_told_from_what_failed() -> None:
    assert InputError.exit_code == 2
    assert RunFailed.exit_code == 1
    assert not issubclass(RunFailed, InputError)


@pytest.mark.parametrize(
    "kind",
    [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, ConnectomicsError)
    ],
)
def test_every_error_ends_with_an_exit_code_of_its_own(kind: type[ConnectomicsError]) -> None:
    assert kind.exit_code in {1, 2}
    assert str(kind("what is wrong")) == "what is wrong"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("treshold", " Did you mean 'threshold'?"),
        ("threshold", " Did you mean 'threshold'?"),
        ("zzz", " Known: grow, threshold."),
    ],
)
def test_the_nearest_name_is_hinted_at(name: str, hint: str) -> None:
    assert did_you_mean(name, ["threshold", "grow"]) == hint


def test_nothing_known_is_no_hint() -> None:
    assert did_you_mean("anything", []) == ""
