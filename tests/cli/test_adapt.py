"""Whatever is wrong with a call of `adapt`: exit code 2 and one line that says what."""

import json
import re

import pytest

from connectomics.cli.main import run

CASES = {
    "adapt rank BAD/missing.h5": "no such path",
    "adapt rank BAD/a.h5/nan": "NaN",
    "adapt rank BAD/a.h5/constant": "there is no image",
    "adapt rank BAD/a.h5/bare": "--voxel-size",
    "adapt rank BAD/a.h5/raw --model no-such": "no such model",
    "adapt rank BAD/a.h5/raw --model TOY": "no features stored",
    "adapt rank BAD/a.h5/raw --permutations 3": "--permutations",
    "adapt rank BAD/a.h5/raw --features deep": "deepest",
    "adapt select BAD/a.h5/raw out": "--model requires",
    "adapt select BAD/a.h5/raw out --model TOY": "-n|--count",
    "adapt select BAD/a.h5/raw out --model TOY -n 0": "at least",
    "adapt select BAD/a.h5/raw out --model TOY -n 1": "do not fit into",
    "adapt select BAD/a.h5/raw out --model TOY -n 99 --crop 16 16 16": "only",
    "adapt select BAD/a.h5/coarse out --model TOY -n 1": "--rescale",
    "adapt select BAD/a.h5/raw BAD/foreign --model TOY -n 1 --crop 16 16 16": "exists already",
    "adapt select BAD/a.h5/raw out --model TOY -n 1 --strategy best": "strategy",
    "adapt select BAD/a.h5/raw out --model TOY -n 1 --exclude BAD/foreign": r"no todo\.json",
    "adapt select BAD/a.h5/raw out --model xnh-to-em -n 1": "predicts no affinities",
    "adapt finetune --model TOY --annotations BAD/foreign --output out": r"no todo\.json",
    "adapt finetune --model no-such --annotations BAD/foreign --output out": "no such model",
    "adapt finetune --model TOY --annotations BAD/foreign --output out --device gpu": "--device",
    "adapt plan": "two or more runs",
    "adapt plan BAD/foreign": r"no adaptation\.json",
    "adapt plan BAD/foreign --picture plan.txt": r"plan\.txt: name a file that ends with \.png",
    "train BAD/foreign": r"train\.toml",
}


@pytest.mark.parametrize("line", CASES)
def test_one_clear_line(line, bad, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = line.replace("BAD", str(bad)).replace("TOY", str(model)).split()
    assert run([*arguments, "--quiet"]) == 2
    shown = capsys.readouterr().err.strip()
    assert re.search(CASES[line], shown), shown
    assert shown.startswith("error: ") and shown.count("\n") == 0, shown
    assert not (tmp_path / "out").exists()


def test_the_shipped_models_are_ranked(volume, tmp_path):
    line = ["adapt", "rank", volume, "--permutations", "99", "--quiet", "--json", str(tmp_path / "r.json")]
    assert run(line) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["none_fits"] and [row["model"] for row in report["ranking"]] == ["fib25-em"]
    assert all("crops" in row["reason"] for row in report["not_ranked"])
    assert all({"model", "mmd2", "p_value"} <= row.keys() for row in report["ranking"])
    values = [row["mmd2"] for row in report["ranking"]]
    assert values == sorted(values)
