"""The plain verdict on a translation, for every way it can end."""

import json

import h5py
import numpy as np
import pytest

from connectomics.cli.main import run
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


def test_one_seed_judges_and_says_that_it_is_one():
    found = verdict([2.0], [1.5], [1.0])
    assert found.has_gap and found.recovered == 0.5
    assert "helped, by 0.500 bits" in str(found) and "One run of each" in str(found)
    assert "no gap to close (-1.000 bits):" in str(verdict([1.0], [1.5], [2.0]))
    with pytest.raises(InputError, match="as many"):
        verdict([2.0, 2.1], [1.5, 1.6], [1.0])


@pytest.fixture
def halves(tmp_path):
    """Four objects; `direct` joins all of them, `translated` two pairs, `real` none."""
    truth = np.repeat(np.arange(1, 5, dtype=np.uint32), 4)[:, None, None] * np.ones((1, 8, 8), np.uint32)
    merged = {"direct": np.ones_like(truth), "translated": (truth + 1) // 2, "real": truth, "truth": truth}
    with h5py.File(tmp_path / "labels.h5", "w") as file:
        for name, labels in merged.items():
            file[name] = labels.astype(np.uint32)
        file["smaller"] = truth[:8]
    return tmp_path / "labels.h5"


def judge(file, translated, *more):
    names = [f"{file}/{translated}", f"{file}/truth", "--voxel-size", "10", "10", "10"]
    return run(["evaluate", *names, *more, "--json", str(file.with_suffix(".json")), "--quiet"])


def test_evaluate_says_whether_a_translation_helped(halves):
    assert judge(halves, "translated", "--direct", f"{halves}/direct", "--real", f"{halves}/real") == 0
    report = json.loads(halves.with_suffix(".json").read_text())
    # 4 equal objects in 1, 2 and 4 segments: 2, 1 and 0 bits of merges
    assert [report[f"{name}voi_merge"] for name in ("direct_", "", "real_")] == pytest.approx([2, 1, 0])
    assert report["gap_recovered"] == pytest.approx(0.5)
    assert report["verdict"].startswith("translation helped, by 1.000 bits, 50% of the gap")


def test_evaluate_says_when_there_is_no_gap(halves):
    assert judge(halves, "translated", "--direct", f"{halves}/real", "--real", f"{halves}/real") == 0
    report = json.loads(halves.with_suffix(".json").read_text())
    assert report["gap_recovered"] is None and report["verdict"].startswith("no gap to close")


def test_half_a_verdict_is_refused(halves, capsys):
    assert judge(halves, "translated", "--direct", f"{halves}/direct") == 2
    assert "--real: missing" in " ".join(capsys.readouterr().err.split())
    assert not halves.with_suffix(".json").exists()


def test_a_verdict_is_on_one_region(halves, capsys):
    others = "--direct", f"{halves}/smaller", "--real", f"{halves}/real"
    assert judge(halves, "translated", *others) == 2
    assert "--direct: lies from" in " ".join(capsys.readouterr().err.split())
    region = "--roi-offset", "0", "0", "0", "--roi-size", "80", "80", "80"
    assert judge(halves, "translated", *others, *region) == 0
    report = json.loads(halves.with_suffix(".json").read_text())
    assert [report[f"{name}voi_merge"] for name in ("direct_", "", "real_")] == pytest.approx([0, 1, 0])
