"""From labelled volumes to a cascade file: what it holds, what it finds, and what is refused."""

import json

import h5py
import numpy as np
import pytest

from connectomics.cascade.settings import read_cascade
from connectomics.cli.main import run

SIZE = (20.0, 20.0, 20.0)
SHAPE = (64, 64, 96)


def draw(path, seed: int) -> None:
    """Bright rods along x, of different lengths and brightness, in noise; each is an object."""
    rng = np.random.default_rng(seed)
    image, labels = rng.normal(60, 6, SHAPE), np.zeros(SHAPE, np.uint8)
    z, y = np.indices(SHAPE[:2])
    for number, (cz, cy) in enumerate(((8, 8), (24, 40), (40, 8), (56, 56)), start=1):
        low, high = sorted(rng.choice(96, 2, replace=False))
        rod = (z - cz) ** 2 + (y - cy) ** 2 < 16
        image[rod, low : high + 4] += rng.uniform(90, 140)
        labels[rod, low : high + 4] = number
    with h5py.File(path, "w") as file:
        for name, data in (("raw", image.clip(0, 255).astype(np.uint8)), ("labels", labels)):
            file[name] = data
            file[name].attrs["resolution"], file[name].attrs["offset"] = SIZE, (0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rods")
    for seed in range(3):
        draw(folder / f"{seed}.h5", seed)
    return folder


def config(folder, drawn, *, size=SIZE, levels=(1, 2), more="") -> str:
    text = f"""
        name = "rods"
        modality = "em"
        voxel_size = {list(size)}
        chunk = [8, 8, 8]
        fine_seconds = 0.01
        root = "{drawn}"
        {more}
        volumes = [{", ".join(f'{{ raw = "{n}.h5/raw", labels = "{n}.h5/labels" }}' for n in range(3))}]
        [promise]
        recall = 0.7
        confidence = 0.9
    """ + "".join(f'[[levels]]\nlevel = {n}\nmethod = "bright"\nsmooth = 0.5\n' for n in levels)
    path = folder / "calibration.toml"
    path.write_text("\n".join(line.strip() for line in text.splitlines()))
    return str(path)


def calibrate(settings: str, out, *more) -> int:
    return run(["cascade", "calibrate", settings, str(out), "--quiet", *more])


def test_a_cascade_is_calibrated_keeps_what_it_tested_and_is_not_replaced_unasked(drawn, tmp_path, capsys):
    out = tmp_path / "rods.json"
    assert calibrate(config(tmp_path, drawn), out) == 0
    found = read_cascade(str(out))
    assert [one.detector.level for one in found.levels] == [1, 2]
    assert found.objects == 8  # one of three volumes is for design
    # of 8 objects, P(Binomial(8, 0.3) >= 1) = 0.94 and >= 2 is 0.74: none may be lost at a confidence of 0.9
    assert found.lost == 0
    coarse, fine = found.levels[1], found.levels[0]
    assert min(fine.threshold, coarse.threshold) > -1e30 or max(fine.threshold, coarse.threshold) > 0
    for level in found.levels:
        assert level.sensitivity > 0.9 and level.false_positive_rate < 0.9 and level.seconds > 0

    report = tmp_path / "plan.json"
    plan = ["cascade", "plan", f"{drawn}/1.h5/raw", "--cascade", str(out), "--quiet", "--json", str(report)]
    assert run(plan) == 0
    said = json.loads(report.read_text())
    assert 0 < said["levels"][0]["calls"] < 0.7 * said["levels"][0]["chunks"]

    before = out.read_text()
    assert calibrate(config(tmp_path, drawn), out) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert out.read_text() == before
    assert calibrate(config(tmp_path, drawn, more='description = "again"'), out, "--overwrite") == 0
    assert read_cascade(str(out)).description == "again"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"more": "smoth = 1"}, "smoth"),
        ({"size": (33.0, 33.0, 33.0)}, "voxel size"),
        ({"levels": (1, 1)}, "same level"),
        ({"levels": (1, 9)}, "nothing would be left"),
        ({"more": "chunk_size = [8, 8, 8]"}, "chunk"),
    ],
)
def test_bad_settings_are_refused_in_a_line(drawn, tmp_path, capsys, change, words):
    out = tmp_path / "rods.json"
    assert calibrate(config(tmp_path, drawn, **change), out) == 2
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said
    assert not out.exists()


def test_phantoms_too_small_for_a_level_are_refused(tmp_path, capsys):
    path = tmp_path / "small.toml"
    path.write_text(
        'name = "x"\nvoxel_size = [132, 132, 132]\nchunk = [8, 8, 8]\nfine_seconds = 1.0\n'
        "[[levels]]\nlevel = 7\n[[phantoms]]\nshape = [16, 16, 16]\n"
    )
    assert calibrate(str(path), tmp_path / "x.json") == 2
    assert "no level 7" in capsys.readouterr().err
