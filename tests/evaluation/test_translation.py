"""Scores of a translation against their definitions, on whole arrays and block by block."""

import json

import numpy as np
import pytest
from scipy import ndimage, stats
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from connectomics.cli.main import run
from connectomics.errors import GeometryError, InputError
from connectomics.evaluation import compare_images, image_uncertainty, membranes
from connectomics.evaluation.compare_images import evaluate_image
from connectomics.evaluation.image_quality import BANDS
from connectomics.io.ome_zarr import create_array
from connectomics.io.volume import Volume

SIZE, OFFSET = (11.0, 11.0, 11.0), (110.0, 0.0, 0.0)
INTERVALS = {"0.5": 0.6745, "0.8": 1.2816, "0.9": 1.6449, "0.95": 1.96}


def volume(array, **attributes):
    return Volume(array, SIZE, OFFSET, "made", attributes=attributes)


@pytest.fixture(scope="module")
def real(cells):
    return cells[:36, :40, :44]


@pytest.fixture(scope="module")
def spread(real):
    """A standard deviation of its own for every voxel, from 2 to 20 grey levels."""
    return np.random.default_rng(0).uniform(2, 20, real.shape).astype(np.float32)


@pytest.fixture(scope="module")
def translated(real, spread):
    """The real image with errors drawn from the stated distributions; not clipped, not rounded."""
    return real + spread * np.random.default_rng(1).normal(size=real.shape).astype(np.float32)


def test_errors_and_structure_are_those_of_skimage(real):
    found = np.clip(real + np.random.default_rng(0).normal(0, 9, real.shape), 0, 255).astype(np.uint8)
    scores = evaluate_image(volume(found), volume(real))
    assert scores["psnr_db"] == pytest.approx(peak_signal_noise_ratio(real, found), abs=1e-6)
    assert scores["ssim"] == pytest.approx(structural_similarity(real, found, win_size=7), abs=1e-6)
    assert scores["l1"] == pytest.approx(np.abs(found.astype(float) - real).mean())
    assert scores["n_voxels"] == real.size and "coverage" not in scores


def test_blocks_add_up_to_the_whole(real, translated, spread, monkeypatch):
    images = volume(translated), volume(real), [volume(spread)]
    whole = evaluate_image(*images)
    monkeypatch.setattr(compare_images, "BLOCK", (32, 32, 32))
    blocks = evaluate_image(*images)
    assert blocks.keys() == whole.keys()
    for key, value in whole.items():
        if key not in {"coverage", "spectrum_ratio"}:
            assert blocks[key] == pytest.approx(value, rel=1e-5), key
    assert blocks["coverage"] == whole["coverage"]
    assert blocks["spectrum_ratio"] == pytest.approx(whole["spectrum_ratio"])
    monkeypatch.setattr(compare_images, "HALO", 0)
    assert evaluate_image(*images)["ssim"] != pytest.approx(whole["ssim"], rel=1e-5), "test invalid"


def test_equal_images(real):
    scores = evaluate_image(volume(real), volume(real))
    assert (scores["psnr_db"], scores["l1"], scores["spectrum_log2"]) == (None, 0, 0)
    assert scores["ssim"] == pytest.approx(1) and scores["membrane_f1"] == 1
    assert scores["spectrum_ratio"] == pytest.approx([1] * BANDS)


def test_a_blurred_image_lacks_fine_waves(real):
    noise = np.random.default_rng(0).normal(128, 30, real.shape).astype(np.float32)
    ratio = evaluate_image(volume(ndimage.gaussian_filter(noise, 1)), volume(noise))["spectrum_ratio"]
    expected = np.exp(-((2 * np.pi * (np.arange(BANDS) + 0.5) / (2 * BANDS)) ** 2))
    assert (np.diff(ratio) < 0).all()
    assert np.log(ratio[:5]) == pytest.approx(np.log(expected[:5]), abs=0.3)


def sheet(at, shape=(24, 30, 32)):
    image = np.full(shape, 200, np.float32)
    image[:, at : at + 2] = 60
    return image


@pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (1, 1.0), (9, 0.0)])
def test_membranes_match_within_a_voxel(shift, expected):
    scores = evaluate_image(volume(sheet(12 + shift)), volume(sheet(12)))
    assert scores["membrane_f1"] == expected


def test_an_image_without_membranes_finds_none():
    blank = np.linspace(190, 200, 24 * 30 * 32, dtype=np.float32).reshape(24, 30, 32)
    scores = evaluate_image(volume(blank), volume(sheet(12)))
    assert (scores["membrane_f1"], scores["membrane_recall"]) == (0, 0)


def test_wide_dark_things_are_no_membranes():
    image = sheet(12)
    image[:, 20:] = 60
    dark = membranes.darkness(image)
    assert dark[:, 12:14].min() > 50 and dark[:, 24:].max() < 5


def test_intervals_cover_what_they_promise(translated, real, spread):
    found = volume(translated, translation={"intervals": INTERVALS})
    coverage = evaluate_image(found, volume(real), [volume(spread)])["coverage"]
    assert [coverage[key] for key in INTERVALS] == pytest.approx([0.5, 0.8, 0.9, 0.95], abs=0.01)
    gaussian = evaluate_image(volume(translated), volume(real), [volume(spread)])["coverage"]
    assert gaussian == pytest.approx(coverage, abs=1e-3)
    wide = volume(translated, translation={"intervals": {key: 2 * q for key, q in INTERVALS.items()}})
    assert evaluate_image(wide, volume(real), [volume(spread)])["coverage"]["0.5"] > 0.8


def test_the_total_is_made_of_both_spreads(translated, real, spread):
    parts = [volume(spread * 0.6), volume(spread * 0.8)]
    scores = evaluate_image(volume(translated), volume(real), parts)
    assert scores["coverage"]["0.8"] == pytest.approx(0.8, abs=0.01)


def test_the_ranking_of_drawn_errors_reaches_its_ceiling(translated, real, spread):
    scores = evaluate_image(volume(translated), volume(real), [volume(spread)])
    error = np.abs(translated - real)
    worst = error >= np.quantile(error, 0.9)
    rank = stats.mannwhitneyu(spread[worst], spread[~worst]).statistic / (worst.sum() * (~worst).sum())
    assert scores["auroc"] == pytest.approx(rank, abs=2e-3)
    assert scores["auroc_ceiling"] == pytest.approx(rank, abs=0.01)
    assert scores["auroc_worst"] == pytest.approx(0.1, abs=0.01)
    shuffled = np.random.default_rng(2).permutation(spread.reshape(-1)).reshape(spread.shape)
    blind = evaluate_image(volume(translated), volume(real), [volume(shuffled)])
    assert blind["auroc"] == pytest.approx(0.5, abs=0.01)
    assert blind["auroc_ceiling"] == pytest.approx(scores["auroc_ceiling"], abs=0.01)


def test_auroc_of_counts_is_the_rank_formula():
    generator = np.random.default_rng(0)
    positive, negative = generator.integers(0, 12, 300), generator.integers(0, 10, 500)
    expected = stats.mannwhitneyu(positive, negative).statistic / (300 * 500)
    counts = [np.bincount(values, minlength=12).astype(float) for values in (positive, negative)]
    assert image_uncertainty.auroc(*counts) == pytest.approx(expected)


def test_a_mask_leaves_voxels_out(real):
    found, mask = real.copy(), np.ones(real.shape, np.uint8)
    found[20:], mask[20:] = 0, 0
    scores = evaluate_image(volume(found), volume(real), mask=volume(mask))
    assert (scores["l1"], scores["n_voxels"]) == (0, 20 * 40 * 44)
    assert scores["spectrum_log2"] is None
    assert evaluate_image(volume(found), volume(real))["l1"] > 1, "test invalid"
    with pytest.raises(InputError, match="the mask is 0 everywhere"):
        evaluate_image(volume(found), volume(real), mask=volume(mask * 0))


def test_what_is_no_image_is_refused(real):
    with pytest.raises(InputError, match="are these labels"):
        evaluate_image(volume(real), volume(real.astype(np.uint64)))
    with pytest.raises(InputError, match="NaN"):
        evaluate_image(volume(np.where(real > 0, np.nan, 1.0)), volume(real))
    with pytest.raises(GeometryError, match="share no voxel"):
        evaluate_image(volume(real), Volume(real, SIZE, (110.0 + 11 * 99, 0, 0), "far"))


# --- the command -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory, real, translated, spread):
    """``out.zarr`` as translate writes it, and ``real.zarr``."""
    folder = tmp_path_factory.mktemp("written")
    attributes = {"translation": {"intervals": INTERVALS}}
    images = {"em": np.clip(np.rint(translated), 0, 255).astype(np.uint8)}
    images |= {"aleatoric": spread * np.float32(0.6), "epistemic": spread * np.float32(0.8)}
    for root, name, image, own in [
        *[("out.zarr", name, image, attributes) for name, image in images.items()],
        ("real.zarr", "em", real, {}),
    ]:
        made = create_array(
            folder / root,
            name,
            shape=image.shape,
            dtype=image.dtype,
            chunks=(32, 32, 32),
            voxel_size=SIZE,
            offset=OFFSET,
            attributes=own,
        )
        made.write_box(tuple(slice(0, n) for n in image.shape), image)
    return folder


def scores_of(folder, *arguments):
    report = folder / "report.json"
    assert run(["evaluate", *arguments, "--json", str(report), "--quiet"]) == 0
    return json.loads(report.read_text())


def test_what_translate_wrote_is_known_and_judged_with_its_uncertainty(written):
    group, image, real = (str(written / name) for name in ("out.zarr", "out.zarr/em", "real.zarr/em"))
    scores = scores_of(written, group, real)
    assert scores == scores_of(written, image, real) == scores_of(written, image, real, "--image")
    assert {"psnr_db", "ssim", "l1", "spectrum_ratio", "membrane_f1", "auroc"} <= scores.keys()
    assert scores["coverage"]["0.9"] == pytest.approx(0.9, abs=0.02)


def test_other_images_need_to_be_called_images(written, capsys):
    real, out = str(written / "real.zarr/em"), str(written / "out.zarr/em")
    assert scores_of(written, real, out, "--image")["l1"] > 1
    assert "voi_sum" in scores_of(written, real, real), "uint8 may be labels"
    assert run(["evaluate", str(written / "out.zarr/aleatoric"), real]) == 2
    assert "is a map of uncertainty" in capsys.readouterr().err
    assert run(["evaluate", str(written / "real.zarr"), str(written / "out.zarr/aleatoric")]) == 2
    assert "Name the translation first" in capsys.readouterr().err
