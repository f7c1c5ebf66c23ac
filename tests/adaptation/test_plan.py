"""Planning: a known power law is found again, its interval holds what comes, and flat curves say stop."""

import numpy as np
import pytest

from connectomics.adaptation.plan import fit_curve, plan
from connectomics.adaptation.plan_picture import check_picture, draw_plan, save_plan
from connectomics.adaptation.settings import PlanSettings
from connectomics.errors import InputError

PLAN = PlanSettings()


def law(n, floor=0.5, scale=1.0, exponent=0.7):
    return floor + scale * np.asarray(n, float) ** -exponent


def test_what_comes_is_predicted_from_one_two_and_four():
    found = plan([1, 2, 4], law([1, 2, 4]).tolist(), PLAN)
    assert found["annotate_more"] and "worth annotating" in found["advice"]
    for row in found["predictions"][:2]:
        assert row["voi"] == pytest.approx(law(row["cubes"]), rel=0.1)
        assert row["voi_low"] < law(row["cubes"]) < row["voi_high"]
    assert [row["cubes"] for row in found["predictions"]] == [8, 16, 32]


def test_a_flat_curve_says_stop_and_a_steep_one_does_not():
    flat = plan([1, 2, 4, 8], law([1, 2, 4, 8], 0.8, 0.05, 1.5).tolist(), PLAN)
    assert not flat["annotate_more"] and flat["advice"].startswith("annotate no more")
    assert flat["gain"] < 0.05 <= plan([1, 2, 4, 8], law([1, 2, 4, 8]).tolist(), PLAN)["gain"]
    assert plan([1, 2, 4, 8], law([1, 2, 4, 8]).tolist(), PlanSettings(worth=0.5))["annotate_more"] is False


@pytest.mark.parametrize(("noise", "least"), [(0.03, 32), (0.15, 24)])
def test_the_interval_holds_most_of_what_comes(noise, least):
    random = np.random.default_rng(0)
    inside, errors = 0, []
    for _ in range(40):
        floor, scale, exponent = random.uniform(0.2, 1), random.uniform(0.5, 2), random.uniform(0.3, 1)
        seen = law([1, 2, 4], floor, scale, exponent) * np.exp(random.normal(0, noise, 3))
        row = plan([1, 2, 4], seen.tolist(), PLAN)["predictions"][0]
        truth = law(8, floor, scale, exponent)
        inside += row["voi_low"] <= truth <= row["voi_high"]
        errors.append(abs(row["voi"] / truth - 1))
    assert inside >= least
    assert np.median(errors) < max(0.1, noise)


def test_more_seeds_make_the_interval_narrower():
    def width(cubes, scores):
        row = plan(cubes, scores, PLAN)["predictions"][0]
        return row["voi_high"] - row["voi_low"]

    many = [1, 2, 4, 8, 16] * 3
    assert width(many, law(many).tolist()) < 0.5 * width([1, 2], law([1, 2]).tolist())


def test_a_curve_that_rises_is_taken_as_flat():
    found = plan([1, 2, 4], [0.8, 0.82, 0.85], PLAN)
    assert not found["annotate_more"] and found["gain_low"] >= 0


def test_the_picture_shows_what_the_report_says(tmp_path):
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    scores = law([1, 2, 4]).tolist()
    draw_plan(axes, [1, 2, 4], scores, PLAN)
    curve, _, points = axes.lines
    assert points.get_xydata().tolist() == [[n, y] for n, y in zip([1, 2, 4], scores, strict=True)]
    last = plan([1, 2, 4], scores, PLAN)["predictions"][-1]
    assert curve.get_xydata()[-1].tolist() == pytest.approx([last["cubes"], last["voi"]])
    (band,) = axes.collections
    edges = band.get_paths()[0].vertices
    assert edges[edges[:, 0] > 31.9, 1].max() == pytest.approx(last["voi_high"])
    save_plan(tmp_path / "plan.png", [1, 2, 4], scores, PLAN)
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="nowhere"):
        save_plan(tmp_path / "nowhere" / "plan.png", [1, 2, 4], scores, PLAN)
    with pytest.raises(InputError, match=r"ends with \.png"):
        check_picture(tmp_path / "plan.txt")


@pytest.mark.parametrize(
    ("cubes", "scores"), [([1], [0.5]), ([2, 2], [0.5, 0.6]), ([1, 2], [0.5, -0.1]), ([1, 2], [0.5, np.nan])]
)
def test_scores_that_say_nothing_are_refused(cubes, scores):
    with pytest.raises(InputError, match="plan"):
        fit_curve(cubes, scores)
