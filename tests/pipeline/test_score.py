"""`score`: equal to the official scorer on its own cases, and clear where that fails."""

import csv
import json
import pickle
import zipfile

import h5py
import networkx
import numpy as np
import pytest

from connectomics.blockwise.progress import Silent
from connectomics.cli.main import run
from connectomics.errors import InputError, OutputExistsError
from connectomics.evaluation.settings import ScoreSettings
from connectomics.evaluation.xpress import xpress_figures
from connectomics.io.skeletons import write_swc
from connectomics.io.submission import SPLITS
from connectomics.pipeline.score import score_submission
from connectomics.pipeline.settings import RegionSettings
from connectomics.roi import Roi, triple
from tests.conftest import SHARED

CASES = sorted(path.parent.name for path in SHARED.glob("xpress_oracle/*/official.json"))
FIGURES = [
    "n_neurons", "n_split_edges", "n_merged_edges", "erl", "erl_norm", "rand_split", "rand_merge",
    "nvi_split", "nvi_merge", "xpress_rand", "xpress_voi", "xpress_erl_rand", "xpress_erl_voi",
]  # fmt: skip


def official_case(shared, name):
    folder = shared / "xpress_oracle" / name
    case = json.loads((folder / "official.json").read_text())
    region = RegionSettings(roi_offset=case["roi_offset_nm"], roi_size=case["roi_shape_nm"])
    settings = ScoreSettings(dataset=case["dataset"], downsample=case["downsampling"] or 1)
    return folder, case["result"], region, settings


def score_case(folder, region, settings):
    return score_submission(
        str(folder / "submission.h5"), str(folder / "skels.npz"), settings, region, Silent()
    )


def test_all_cases_are_here(shared):
    assert len(CASES) == 34


@pytest.mark.parametrize("name", CASES)
def test_every_figure_is_the_official_one(shared, name):
    folder, official, region, settings = official_case(shared, name)
    if not official["ok"]:
        with pytest.raises(InputError):  # said, and not passed over
            score_case(folder, region, settings.model_copy(update={"strict": True}))
        return
    report = score_case(folder, region, settings.model_copy(update={"strict": True}))
    assert report["faults"] == [] and not report["after_repair"]
    for key in FIGURES:
        expected = official[key] if key in official else official["rand_voi"][key]
        assert report[key] == pytest.approx(expected, rel=1e-6, abs=1e-12, nan_ok=True), key


REPAIRED = [name for name in CASES if name.startswith("dtype_")]


@pytest.mark.parametrize("name", REPAIRED)
def test_a_type_that_the_official_scorer_refuses_is_scored_as_if_repaired(shared, name):
    folder, _, region, settings = official_case(shared, name)
    report = score_case(folder, region, settings)
    _, perfect, _, _ = official_case(shared, "perfect")
    assert report["after_repair"] and "takes uint64 alone" in report["faults"][0]
    assert report["xpress_erl_rand"] == pytest.approx(perfect["xpress_erl_rand"], rel=1e-6)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("all_nodes_outside", "no skeleton node lies in the evaluated region.*official scorer fails"),
        ("no_attrs", "no attribute 'resolution' and no 'offset'.*--voxel-size"),
        ("roi_larger_than_seg", "does not contain the evaluated region"),
    ],
)
def test_what_no_repair_can_score(shared, name, why):
    folder, _, region, settings = official_case(shared, name)
    with pytest.raises(InputError, match=why):
        score_case(folder, region, settings)


# --- drawn cases --------------------------------------------------------------------------------------------

SHAPE = (6, 7, 8)  # voxels of 99 nm from 3267 nm; three axons along z at x = 1, 3, 5


def drawn(dtype=np.uint64):
    labels = np.zeros(SHAPE, dtype)
    for number, x in enumerate((1, 3, 5), 1):
        labels[:, :, x] = number
    return labels


def save(path, labels, name="submission", **attributes):
    attributes = {"resolution": (99, 99, 99), "offset": (3267, 3267, 3267)} | attributes
    with h5py.File(path, "w") as file:
        data = file.create_dataset(name, data=labels)
        data.attrs.update({key: value for key, value in attributes.items() if value is not None})
    return path


@pytest.fixture
def truth(tmp_path):
    graph = networkx.Graph()
    for axon, x in enumerate((1, 3, 5)):
        for z in range(SHAPE[0]):
            graph.add_node(10 * axon + z, position=tuple(3267 + 99 * (v + 0.5) for v in (x, 3, z)))
        networkx.add_path(graph, [10 * axon + z for z in range(SHAPE[0])])
    path = tmp_path / "truth.npz"
    path.write_bytes(pickle.dumps(graph))
    return path


def score_file(path, truth, region=RegionSettings(), **settings):  # noqa: B008
    return score_submission(str(path), str(truth), ScoreSettings(**settings), region, Silent())


def test_a_perfect_segmentation(tmp_path, truth):
    report = score_file(save(tmp_path / "a.h5", drawn()), truth)
    assert report["nerl"] == report["xpress_erl_rand"] == pytest.approx(1)
    assert (report["faults"], report["notes"], report["oddities"]) == ([], [], [])


def test_formats_of_skeletons_give_one_score(tmp_path, truth):
    from connectomics.io.skeletons import read_skeletons

    write_swc(tmp_path / "swc", read_skeletons(truth))
    labels = drawn()
    labels[3:, :, 3] = 9
    path = save(tmp_path / "a.h5", labels)
    keys = [*FIGURES, "nerl"]
    first, second = (score_file(path, place) for place in (truth, tmp_path / "swc"))
    assert [first[key] for key in keys] == [second[key] for key in keys] and first["n_split_edges"] == 1


def zipped(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, source in members.items():
            archive.write(source, name)
    return path


def test_a_zip_is_scored_like_the_file_in_it(tmp_path, truth, monkeypatch):
    monkeypatch.setitem(SPLITS, "test", Roi((3267.0,) * 3, triple([99 * n for n in SHAPE])))
    file = save(tmp_path / "a.h5", drawn())
    report = score_file(zipped(tmp_path / "a.zip", {"submission.h5": file}), truth, strict=True)
    assert report["xpress_erl_rand"] == score_file(file, truth)["xpress_erl_rand"]


@pytest.mark.parametrize("names", [["foo.h5"], ["submission.h5", "notes.txt"], ["sub/submission.h5"]])
def test_a_zip_that_the_official_check_refuses(tmp_path, truth, names):
    file = save(tmp_path / "a.h5", drawn())
    path = zipped(tmp_path / "a.zip", dict.fromkeys(names, file))
    report = score_file(path, truth)
    assert report["after_repair"] and "exactly one file" in report["faults"][0]
    with pytest.raises(InputError, match=r"--strict.*exactly one file"):
        score_file(path, truth, strict=True)


def test_damaged_zips(tmp_path, truth):
    file = save(tmp_path / "a.h5", drawn())
    whole = zipped(tmp_path / "a.zip", {"submission.h5": file}).read_bytes()
    broken = bytearray(whole)
    broken[len(whole) // 2] ^= 255
    (tmp_path / "broken.zip").write_bytes(broken)
    (tmp_path / "short.zip").write_bytes(whole[: len(whole) // 2])
    for name in ("broken.zip", "short.zip"):
        with pytest.raises(InputError, match=rf"{name}: the zip is damaged"):
            score_file(tmp_path / name, truth)
    with pytest.raises(InputError, match=r"expected a zip of one submission.h5, got truth.npz"):
        score_file(zipped(tmp_path / "no.zip", {"truth.npz": truth}), truth)


def test_four_dimensions_are_scored_as_if_repaired(tmp_path, truth):
    report = score_file(save(tmp_path / "a.h5", drawn()[None]), truth)
    assert "is not 3-D" in report["faults"][0] and report["nerl"] == 1


def test_overflow_is_a_fault_and_repaired(tmp_path, truth):
    labels = drawn()
    labels[:, :, 1] = 2**64 - 1
    assert score_file(save(tmp_path / "a.h5", labels), truth)["faults"] == []  # no node over background
    labels[2, :, 3] = 0
    report = score_file(save(tmp_path / "b.h5", labels), truth)
    assert "overflow" in report["faults"][0] and 0 < report["nerl"] < 1
    labels[:, :, 1] = 1
    repaired = score_file(save(tmp_path / "c.h5", labels), truth)
    assert repaired["faults"] == [] and repaired["xpress_erl_rand"] == report["xpress_erl_rand"]


def test_a_region_places_a_file_without_attributes(tmp_path, truth):
    path = save(tmp_path / "a.h5", drawn(), resolution=None, offset=None)
    region = RegionSettings(roi_offset=(3267,) * 3, roi_size=tuple(99.0 * n for n in SHAPE))
    report = score_file(path, truth, region)
    assert report["nerl"] == 1 and "no attribute 'resolution' and no 'offset'" in report["faults"][0]


def test_fractions_of_a_nanometre_are_dropped_as_the_official_scorer_does(tmp_path, truth):
    path = save(tmp_path / "a.h5", drawn(), resolution=(99.4, 99.4, 99.4), offset=(3267.9,) * 3)
    report = score_file(path, truth, strict=True)
    assert report["nerl"] == 1 and "whole nm" in report["notes"][0]


def test_axes_in_another_order_are_noticed(tmp_path, truth):
    cube = np.zeros((8, 8, 8), np.uint64)
    cube[:6, :7] = drawn()
    report = score_file(save(tmp_path / "a.h5", cube), truth)
    assert report["notes"] == [] and report["nerl"] == 1
    path = save(tmp_path / "b.h5", cube.transpose())
    turned = score_file(path, truth)
    assert "axes look turned" in turned["notes"][0] and turned["nerl"] < 0.5
    with pytest.raises(InputError, match="axes look turned"):
        score_file(path, truth, strict=True)
    with pytest.raises(InputError, match=r"does not contain.*z y x order"):
        region = RegionSettings(roi_offset=(3267,) * 3, roi_size=tuple(99.0 * n for n in SHAPE))
        score_file(save(tmp_path / "c.h5", drawn().transpose()), truth, region)


def test_a_region_off_the_grid(tmp_path, truth):
    region = RegionSettings(roi_offset=(3300,) * 3, roi_size=(99,) * 3)
    with pytest.raises(InputError, match="not on the voxel grid"):
        score_file(save(tmp_path / "a.h5", drawn()), truth, region)


def test_labels_that_are_none(tmp_path, truth):
    for labels, why in ((drawn(np.int32) - 1, "negative label"), (drawn(np.float32) + 0.5, "no labels")):
        with pytest.raises(InputError, match=why):
            score_file(save(tmp_path / "a.h5", labels), truth)


def test_downsampling_equals_striding(tmp_path, truth):
    fine = drawn().repeat(3, 0).repeat(3, 1).repeat(3, 2)
    fine[1::3] = 5  # never looked at
    path = save(tmp_path / "fine.h5", fine, resolution=(33, 33, 33))
    report = score_file(path, truth, downsample=3)
    assert report["nerl"] == 1 and score_file(path, truth)["nerl"] < 1


def test_more_than_the_challenge_region_is_said(tmp_path, truth):
    low = SPLITS["validation"].offset[0] - 33
    labels = np.ones((2, 2, 2), np.uint64)
    path = save(tmp_path / "a.h5", labels, resolution=(33066,) * 3, offset=(low - low % 33066,) * 3)
    assert "--split" in " ".join(score_file(path, truth)["notes"])


def test_the_list_of_errors(tmp_path, truth):
    labels = drawn()
    labels[3:, :, 3] = 9
    labels[:, :, 5] = 1
    path, table = save(tmp_path / "a.h5", labels), tmp_path / "errors.csv"
    report = score_file(path, truth, errors=table)
    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["kind"] for row in rows] == ["merge", "split"]
    merge, split = rows
    assert (merge["skeleton_1"], merge["skeleton_2"]) == ("1", "3")
    assert merge["segment_1"] == merge["segment_2"] == "1"
    assert (split["segment_1"], split["segment_2"]) == ("2", "9")
    assert [float(split[f"{axis}_nm"]) for axis in "zyx"] == [3267 + 99 * v for v in (3, 3.5, 3.5)]
    assert [int(split[f"{axis}_voxel"]) for axis in "zyx"] == [3, 3, 3]
    assert len(rows) == report["n_split_edges"] + report["n_merged_edges"]


def test_the_command_line(tmp_path, truth, capsys):
    path, out = save(tmp_path / "a.h5", drawn(np.uint8)), tmp_path / "s.json"
    line = ["score", str(path), "--skeletons", str(truth), "--json", str(out)]
    assert run(line) == 0
    report = json.loads(out.read_text())
    assert set(FIGURES) | {"nerl"} <= set(report) and report["after_repair"]
    shown = capsys.readouterr()
    assert "xpress_erl_rand" in shown.out and "uint64" in shown.err
    assert run([*line, "--strict"]) == 2
    assert "--strict" in capsys.readouterr().err
    assert run([*line, "--split", "test", "--roi-offset", "0", "0", "0", "--roi-size", "1", "1", "1"]) == 2


def test_figures_that_are_not_numbers_are_null(tmp_path, truth, capsys):
    graph = networkx.Graph()
    graph.add_node(0, position=(3300.0, 3300.0, 3300.0))
    (tmp_path / "one.npz").write_bytes(pickle.dumps(graph))
    out = tmp_path / "s.json"
    line = ["score", str(save(tmp_path / "a.h5", drawn())), "--skeletons", str(tmp_path / "one.npz")]
    assert run([*line, "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["xpress_erl_rand"] is None and report["erl"] == 0 and report["n_neurons"] == 1


def test_the_pipeline_uses_the_figures(monkeypatch, tmp_path, truth):
    """Negative control of the oracle test: a figure that is off by 1e-5 is noticed."""
    import connectomics.pipeline.score as module

    def off(found, *rules):
        return {key: value * (1 + 1e-5) for key, value in xpress_figures(found, *rules).items()}

    exact = score_file(save(tmp_path / "a.h5", drawn()), truth)
    monkeypatch.setattr(module, "xpress_figures", off)
    wrong = score_file(tmp_path / "a.h5", truth)
    assert wrong["erl"] != pytest.approx(exact["erl"], rel=1e-6, abs=1e-12)


def test_a_list_of_errors_goes_into_a_folder_that_is_there(tmp_path, truth):
    path = save(tmp_path / "a.h5", np.ones((4, 4, 4), np.uint64))
    with pytest.raises(OutputExistsError, match="there is no folder"):
        score_file(path, truth, errors=tmp_path / "none" / "errors.csv")
    assert not (tmp_path / "none").exists()
