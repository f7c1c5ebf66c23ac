"""Scripts that the README names answer a user's mistake with one line and exit code 2."""

import runpy
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.conftest import save_translator

SCRIPTS = Path(__file__).parents[1] / "scripts"
RECIPE = Path(__file__).parents[1] / "data" / "recipes" / "fib25-em.toml"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("simulate_xray.py nothing.h5/raw out.zarr", "no such path"),
        ("simulate_xray.py nothing.h5/raw out.zarr --set fctor=3", "'factor'"),
        (f"calibrate.py no-such-model {RECIPE}", "no such model"),
        (f"store_features.py no-such-model {RECIPE}", "no such model"),
        ("store_features.py translator nothing.toml", "no such configuration file"),
        (f"calibrate.py translator {RECIPE}", "predicts no affinities"),
        ("choose_settings.py no-such-model --raw a --truth b", "no such path"),
        ("choose_settings.py no-such-model --raw a --truth b --scored 0 1 2", "got 3 numbers"),
        ("choose_settings.py no-such-model --raw a b --truth c d --network e", "got 1"),
        ("choose_settings.py no-such-model --raw a b --truth c d --scored 0 1 2 3 4 5", "got 3"),
    ],
)
def test_a_mistake_gets_one_line(line, why, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_translator(tmp_path / "translator")
    name, *arguments = line.split()
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(SCRIPTS / name), run_name="__main__")
    shown = capsys.readouterr().err
    assert stopped.value.code == 2 and why in shown and shown.count("\n") == 1, shown


def test_an_em_volume_that_cannot_be_simulated_leaves_nothing(tmp_path, monkeypatch, capsys):
    image = np.random.default_rng(0).uniform(0, 255, (60, 60, 420)).astype(np.float32)
    image[30, 30, 300] = np.nan  # between the places that are looked at first
    with h5py.File(tmp_path / "em.h5", "w") as file:
        file.create_dataset("raw", data=image).attrs["resolution"] = (10, 10, 10)
    line = [
        "simulate_xray.py",
        f"{tmp_path}/em.h5/raw",
        f"{tmp_path}/out.zarr",
        "--set",
        "dark=0",
        "--set",
        "bright=255",
    ]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(SCRIPTS / "simulate_xray.py"), run_name="__main__")
    assert stopped.value.code == 2 and "NaN" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["em.h5"]
