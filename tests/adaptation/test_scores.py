"""What scores let expect: data that look like the volume count most, and how hard data are cancels."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectomics.adaptation.scores import FLOOR, Score, expected_scores, read_scores
from connectomics.cli.main import run
from connectomics.errors import InputError, SettingsError
from tests.adaptation.test_rank import ranked

TABLE = {("a", "x"): 0.1, ("b", "x"): 0.4, ("a", "y"): 0.8, ("b", "y"): 0.2}


def scores(table=TABLE):
    return [Score(model=model, data=data, voi_sum=value) for (model, data), value in table.items()]


def test_data_that_look_like_the_volume_count_most():
    near_x = expected_scores(scores(), {"x": 0.05, "y": 0.9})
    near_y = expected_scores(scores(), {"x": 0.9, "y": 0.05})
    assert near_x["a"] < 1 < near_x["b"] and near_y["b"] < 1 < near_y["a"]


def test_the_expectation_on_one_data_set_is_its_ratio():
    found = expected_scores(scores(), {"x": 0.3})
    assert found["a"] / found["b"] == pytest.approx((0.1 + FLOOR) / (0.4 + FLOOR))


@given(st.floats(0.2, 10), st.floats(-0.5, 5))
def test_neither_how_hard_data_are_nor_a_common_distance_matters(harder, farther):
    plain = expected_scores(scores(), {"x": 0.2, "y": 0.5})
    table = {key: (v + FLOOR) * harder - FLOOR if key[1] == "x" else v for key, v in TABLE.items()}
    assert expected_scores(scores(table), {"x": 0.2, "y": 0.5}) == pytest.approx(plain)
    assert expected_scores(scores(), {"x": 0.2 + farther, "y": 0.5 + farther}) == pytest.approx(plain)


def test_far_data_still_tell_and_single_scores_do_not():
    assert expected_scores(scores(), {"x": 1e6})["a"] < 1
    assert expected_scores(scores({("a", "x"): 0.1}), {"x": 0.0}) == {}
    alone = scores({("c", "z"): 0.1})
    assert expected_scores([*scores(), *alone], {"x": 1e6, "z": 0.0})["a"] < 1
    assert expected_scores(scores(), {"z": 0.0}) == {} == expected_scores([], {"x": 0.0})


def test_models_are_ranked_by_what_is_expected(images, models):
    folders = [models / "cells", models / "clouds"]
    cells, clouds = map(str, folders)
    assert ranked(f"{images}/cells", folders, features="common")["ranking"][0]["model"] == cells
    known = scores({(cells, cells): 0.6, (clouds, cells): 0.3, (cells, clouds): 0.1, (clouds, clouds): 0.9})
    report = ranked(f"{images}/cells", folders, known, features="common")
    assert [row["model"] for row in report["ranking"]] == [clouds, cells]
    assert report["ranking"][0]["expected"] < 1 and "expected to do best" in report["advice"]
    with pytest.raises(InputError, match="leave out --features"):
        ranked(f"{images}/cells", folders, known, features="deepest")
    with pytest.raises(InputError, match="say nothing"):
        ranked(f"{images}/cells", folders, scores(), features="common")


BAD = {
    "no": "Expecting value",
    "{}": "expected a list",
    "[1]": "expected a list",
    "[]": "expected a list",
    '[{"model": "a", "data": "b"}]': "voi_sum",
    '[{"model": "a", "data": "b", "voi": 1}]': "voi_sum",
    '[{"model": "a", "data": "b", "voi_sum": -1}]': "voi_sum",
    '[{"model": "a", "data": "b", "voi_sum": NaN}]': "voi_sum",
}


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_list_of_scores_is_said(text, tmp_path):
    path = tmp_path / "scores.json"
    path.write_text(text)
    with pytest.raises((InputError, SettingsError), match=r"scores\.json") as said:
        read_scores(path)
    assert BAD[text] in str(said.value)


def test_scores_are_given_on_the_command_line(images, models, tmp_path, capsys):
    folders = [str(models / name) for name in ("cells", "clouds")]
    rows = [{"model": m, "data": d, "voi_sum": 0.2 + 0.3 * (m == d)} for m in folders for d in folders]
    (tmp_path / "scores.json").write_text(json.dumps(rows))
    line = ["adapt", "rank", f"{images}/cells", "--permutations", "99"]
    line += [part for folder in folders for part in ("--model", folder)]
    assert run([*line, "--scores", str(tmp_path / "scores.json")]) == 0
    assert "expected" in capsys.readouterr().out
    assert run([*line, "--scores", str(tmp_path / "none.json")]) == 2
    assert "none.json" in capsys.readouterr().err
