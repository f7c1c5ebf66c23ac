"""`doctor`: says what is here, and fails on what would make a run fail."""

import json

import h5py
import zarr

from connectomics.cli.main import run
from tests.conftest import save_translator


def told(tmp_path, *arguments):
    out = tmp_path / "doctor.json"
    code = run(["doctor", *map(str, arguments), "--json", str(out), "--quiet"])
    return code, json.loads(out.read_text())


def test_a_sound_machine(tmp_path, volume, model):
    code, found = told(tmp_path, volume, "--model", model, "--memory", "1GB", "--tile", "64")
    assert code == 0
    assert "torch" in found["packages"] and "cores for this process" in found["processor"]
    assert "(20.0, 10.0, 10.0)" in found["volume"].replace("[", "(").replace("]", ")")
    assert "cores of (64, 64, 64)" in found["tiles"]
    assert "cpu" in found["device"]
    assert "MB per million edges" in found["global step"] and "NOTE" not in found["global step"]


def test_what_would_stop_a_run(tmp_path, capsys):
    code, found = told(tmp_path, tmp_path / "missing.h5", "--memory", "900TB", "--cluster", "tcp:nowhere")
    assert code == 1
    assert (
        "no such path" in found["volume"]
        and "BAD" in found["memory"]
        and "expected local:N" in found["cluster"]
    )
    assert "--memory" in capsys.readouterr().err


def test_a_volume_too_large_for_the_global_step_is_noted(tmp_path):
    zarr.create_array(
        store=str(tmp_path / "huge.zarr"), shape=(20000, 20000, 20000), chunks=(64, 64, 64), dtype="uint8"
    )
    options = ["--voxel-size", 10, 10, 10, "--memory", "1GB"]
    _, found = told(tmp_path, tmp_path / "huge.zarr", *options)
    # 8e12 voxels, 1.6e9 fragments
    assert "NOTE" in found["global step"] and "96 GB to number the fragments" in found["global step"]


def test_the_options_of_a_run_are_looked_at_too(tmp_path, volume, model, cells):
    with h5py.File(tmp_path / "bare.h5", "w") as file:
        file["raw"] = cells
    coarse = [f"{tmp_path}/bare.h5/raw", "--voxel-size", 40, 20, 20, "--model", model]
    code, found = told(tmp_path, *coarse)
    assert code == 1 and "--rescale" in found["tiles"]
    code, found = told(tmp_path, *coarse, "--rescale", "--linkage", "percentile95")
    assert code == 0 and "percentile95" in found["global step"] and "cores of" in found["tiles"]
    code, found = told(tmp_path, volume, "--model", model, "--block", 3, 3, 3)
    assert code == 1 and "--block" in found["tiles"]
    code, found = told(tmp_path, volume, "--model", model, "--cascade", "xnh-cascade")
    assert code == 1 and "calibrated at" in found["cascade"]


def test_the_global_step_is_that_of_the_region(tmp_path):
    zarr.create_array(
        store=str(tmp_path / "huge.zarr"), shape=(20000, 20000, 20000), chunks=(64, 64, 64), dtype="uint8"
    )
    region = ["--roi-offset", 0, 0, 0, "--roi-size", 640, 640, 640]
    _, found = told(tmp_path, tmp_path / "huge.zarr", "--voxel-size", 10, 10, 10, "--memory", "1GB", *region)
    assert "NOTE" not in found["global step"]


def test_mirror_images_of_a_translation_are_asked_for_as_in_a_run(tmp_path, volume):
    translator = save_translator(tmp_path / "translator")
    contract = json.loads((translator / "contract.json").read_text())
    contract["uncertainty"] = None  # or the passes of the calibration would be enough
    (translator / "contract.json").write_text(json.dumps(contract))
    _, found = told(tmp_path, volume, "--model", translator, "--flips", "4", "--engine", "torch")
    assert "cores of" in found["tiles"] and "BAD" not in found["tiles"]
