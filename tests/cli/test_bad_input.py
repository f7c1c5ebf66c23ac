"""Whatever a user gets wrong: exit code 2, one line that says what, no traceback, nothing written."""

import re

import pytest

from connectomics.cli.main import run
from connectomics.io.files import write_json
from connectomics.io.ome_zarr import create_group

TOY = "TOY"
"""Stands for the toy model's folder in the arguments below; BAD and MODELS stand for the damaged files."""

READING = ("info BAD/{}", "convert BAD/{} out.zarr", "predict BAD/{} out.zarr --model TOY")
READING += ("segment BAD/{} out.zarr --model TOY", "evaluate BAD/{} BAD/a.h5/labels")
NETWORK = READING[2:4]
WRITING = (
    "convert BAD/a.h5/raw {}",
    "predict BAD/a.h5/raw {} --model TOY",
    "segment BAD/a.h5/raw {} --model TOY",
    "phantom {} --shape 8 8 8",
)

UNREADABLE = {
    "missing.h5": "no such path",
    "a.h5/rwa": r"no data set 'rwa'.*There: .*raw",
    "a.h5": r"more than one data set.*There: .*raw",
    "truncated.h5/raw": "truncated|corrupt",
    "empty.h5": "not a volume",
    "notes.txt": "not a volume",
    "notes.txt/raw": "no such path",
    "foreign": "not a volume",
    "broken.zarr": "broken.zarr",
}
NOT_3D = {
    "a.h5/bare": "--voxel-size",
    "a.h5/flat": "2-D",
    "a.h5/four": "4-D",
    "a.h5/text": "numbers",
    "flat.tif": "2-D",
}
NO_IMAGE = {"a.h5/nan": "NaN", "a.h5/constant": "every voxel looked at is 7"}

PREDICT = "predict BAD/a.h5/raw out.zarr --model TOY"
SEGMENT = "segment BAD/a.h5/raw out.zarr --model TOY"
EVALUATE = "evaluate BAD/a.h5/labels BAD/a.h5/labels"
COARSE = "BAD/a.h5/coarse out.zarr --model TOY"

CASES = [
    *[(line.format(place), why) for line in READING for place, why in UNREADABLE.items()],
    *[(line.format(place), why) for line in READING[1:] for place, why in NOT_3D.items()],
    *[(line.format(place), why) for line in NETWORK for place, why in NO_IMAGE.items()],
    # the model
    *[
        (f"{command} BAD/a.h5/raw out.zarr --model {model}", why)
        for command in ("predict", "segment")
        for model, why in {
            "no-such-model": "no such model",
            "BAD/foreign": "no contract.json",
            "MODELS/other_network": "not the weights of the contract's BasicUNet",
            "MODELS/truncated": "damaged or not a safetensors file",
            "MODELS/no_weights": "without weights.safetensors",
            "MODELS/no_json": "contract.json",
            "MODELS/unknown_key": r"unknown key 'voxelsize'.*'voxel_size'",
        }.items()
    ],
    *[(f"{command} {COARSE}", r"factor 2\.5 x 2\.5 x 2\.5.*--rescale") for command in ("predict", "segment")],
    ("models show no-such-model", "no such model"),
    ("models export TOY BAD/foreign", "exists already"),
    # options and commands that do not exist
    ("segmet BAD/a.h5/raw", "segment"),
    (f"{SEGMENT} --treshold 0.5", "--threshold"),
    ("info", "volume"),
    ("info BAD/a.h5/raw extra words", "extra"),
    ("predict BAD/a.h5/raw out.zarr", "--model requires.*fib25-em"),
    ("models lst", "list"),
    # values that cannot be
    *[
        (f"{command} {option}", why)
        for command in (PREDICT, SEGMENT)
        for option, why in {
            "--block 0 0 0": "block",
            "--block -32 32 32": "block",
            "--block 32 32": "block",
            "--tile 0": "tile",
            "--tile -64": "tile",
            "--margin -1": "margin",
            "--memory lots": "lots",
            "--memory 1KB --quiet": "memory",
            "--flips 3": "flips",
            "--device tpu": "tpu",
            "--threads 0": "threads",
            "--workers 0": "workers",
            "--voxel-size 1 1": "voxel-size",
            "--roi-offset 0 0 99999": "does not lie inside.*--roi-offset",
            "--roi-size 99999 10 10": "does not lie inside",
            "--roi-size -20 10 10": "roi-size|size",
            "--roi-size 0 10 10": "does not lie inside",
            "--roi-offset nan 0 0": "roi-offset",
        }.items()
    ],
    (f"{SEGMENT} --threshold high", "threshold"),
    (f"{SEGMENT} --cluster slurm", "expected local:N"),
    (f"{SEGMENT} --cluster local:0", "expected a number of workers"),
    *[
        (f"{command} --block 20 20 20", "--block 20 20 20: .*multiples.* nearest that fits is 32 32 32")
        for command in (PREDICT, SEGMENT)
    ],
    ("convert BAD/a.h5/bare out.zarr --voxel-size 0 1 1", "--voxel-size: must be positive"),
    ("convert BAD/a.h5/bare out.zarr --voxel-size -1 1 1", "--voxel-size: must be positive"),
    ("info BAD/a.h5/bare --voxel-size -1 1 1", "--voxel-size: must be positive"),
    ("convert BAD/a.h5/raw out.zarr --chunk 0", "chunk"),
    ("convert BAD/a.h5/raw out.zarr --chunk 32 --shard 48", "--shard 48"),
    ("convert BAD/a.h5/raw out.zarr --chunk 32 --shard 64 --zarr-format 2", "shard"),
    ("convert BAD/a.h5/raw out.zarr --block 50 90 97", "nearest that fits is 64 64 128"),
    ("convert BAD/a.h5/raw out.zarr --chunk 16 --shard 48 --block 50 90 97", "whole shards.* 48 96 96"),
    ("convert BAD/a.h5/raw out.zarr --block -64 64 64", "--block"),
    ("convert BAD/a.h5/raw out.zarr --levels 0", "levels"),
    ("phantom out.zarr", "shape"),
    ("phantom out.zarr --shape 8 8", "shape"),
    ("phantom out.zarr --shape 8 0 8", "--shape: must be positive"),
    ("phantom out.zarr --shape -8 8 8", "--shape: must be positive"),
    ("phantom out.zarr --shape 64 64 64 --block 20 20 20", "multiples of 32"),
    ("phantom out.zarr --shape 8 8 8 --difficulty impossible", "impossible"),
    ("phantom out.zarr --shape 8 8 8 --voxel-size -1", "voxel-size"),
    ("phantom out.zarr --shape 8 8 8 --modality mri", "mri"),
    # evaluation
    ("evaluate BAD/a.h5/labels BAD/missing", "no such path"),
    ("evaluate BAD/a.h5/labels BAD/notes.txt", "no truth to compare with"),
    ("evaluate BAD/a.h5/labels BAD/a.h5/coarse", "50.*20"),
    ("evaluate BAD/a.h5/nan BAD/a.h5/labels", "expected integer labels"),
    ("evaluate BAD/a.h5/labels BAD/a.h5/nan", "expected integer labels"),
    (f"{EVALUATE} --mask BAD/missing", "no such path"),
    (f"{EVALUATE} --direct BAD/a.h5/labels", "--real: missing"),
    (f"{EVALUATE} --direct BAD/a.h5/labels --real BAD/missing", "no such path"),
    (f"{EVALUATE} --image --direct BAD/a.h5/labels --real BAD/a.h5/labels", "SEGMENTATION is an image"),
    (f"{EVALUATE} --roi-offset 0 0 99999", "does not lie inside"),
    (f"{EVALUATE} --worst -1", "worst"),
    # XPRESS
    ("score BAD/a.h5/labels", "skeletons"),
    ("score BAD/a.h5/labels --skeletons BAD/missing", "no such file or folder of skeletons"),
    ("score BAD/a.h5/labels --skeletons BAD/notes.txt", "not a skeleton"),
    ("score BAD/a.h5/labels --skeletons BAD/a.h5", "not a skeleton"),
    ("score BAD/a.h5 --skeletons BAD/one.swc", "names no data set|which data set|bare"),
    ("score BAD/a.h5 --dataset lables --skeletons BAD/one.swc", "labels"),
    ("score BAD/missing.h5 --skeletons BAD/one.swc", "no such path"),
    ("score BAD/truncated.h5 --skeletons BAD/one.swc", "truncated or corrupt"),
    ("score BAD/a.h5/bare --skeletons BAD/one.swc", "no attribute 'resolution'.*--voxel-size"),
    ("score BAD/a.h5/flat --skeletons BAD/one.swc", "2-D"),
    ("score BAD/a.h5/nan --skeletons BAD/one.swc", "no labels"),
    ("score BAD/a.h5/labels --skeletons BAD/one.swc --split test", "does not contain the evaluated region"),
    ("score BAD/a.h5/labels --skeletons BAD/one.swc --split best", "best"),
    ("score BAD/a.h5/labels --skeletons BAD/one.swc --downsample 0", "downsample"),
    ("score BAD/a.h5/labels --skeletons BAD/one.swc --roi-size 1 1 1", "give both"),
    ("score BAD/a.h5/labels --skeletons BAD/one.swc --errors BAD", "is a folder"),
    ("submit BAD/a.h5/labels out.zip", "does not divide the challenge's 99 nm"),
    ("submit BAD/a.h5/bare out.zip --voxel-size 33 33 33", "does not contain the challenge's region"),
    ("submit BAD/a.h5/labels BAD/notes.txt", "exists already"),
    ("submit BAD/a.h5/labels out.zip --roi-size 1 1 1", "leave out --roi-offset"),
    ("data fetch xpres", "Did you mean 'xpress'"),
    ("data fetch xpress raw.h5 --cache cache", "has no file 'raw.h5'"),
    ("data fetch fib25", "no file to fetch"),
    ("submit BAD/a.h5/labels BAD", "is a folder"),
    # what would be lost
    ("info BAD/a.h5/raw --json BAD/a.h5", "holds something else than a report"),
    (f"{EVALUATE} --json BAD/a.h5", "holds something else than a report"),
    (f"{EVALUATE} --json BAD/notes.txt/r.json", "cannot be written there"),
    (
        "score BAD/a.h5/labels --skeletons BAD/one.swc --errors BAD/a.h5",
        "something else than a list of errors",
    ),
    ("submit BAD/a.h5 BAD/a.h5 --overwrite", "is the segmentation itself"),
    ("submit BAD/a.h5/labels BAD/a.h5 --overwrite", "is the segmentation itself"),
    # names that the system refuses
    (f"info {'n' * 300}.h5", "too long"),
    (f"convert BAD/a.h5/raw {'n' * 300}.zarr", "too long"),
    ("models export TOY BAD/notes.txt/m", "a file is where a folder should be"),
    # the rest
    ("doctor --model no-such --device tpu", "tpu"),
    ("phantom out.zarr --shape 6.5 8 8", "--shape"),
    ("train missing.toml", "no such configuration file"),
    ("train BAD/foreign", "no such configuration file"),
    ("train BAD/notes.txt", "not valid TOML"),
    ("status missing.zarr", "no run has been recorded"),
    ("status BAD/foreign", "no run has been recorded"),
    ("info BAD/a.h5/raw --json missing/folder/report.json", "--json"),
]


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def refused(bad, bad_models, model, tmp_path, monkeypatch, capsys):
    """Run a command line that must be refused, and return the one line that it says."""
    monkeypatch.chdir(tmp_path)

    def run_line(line):
        for short, path in {"BAD": bad, "MODELS": bad_models, "TOY": model}.items():
            line = line.replace(short, str(path))
        before = [contents(folder) for folder in (tmp_path, bad)]
        code = run(line.split())
        shown = capsys.readouterr()
        assert (code, shown.out) == (2, ""), shown.err
        assert "Traceback" not in shown.err
        assert shown.err.startswith("error: ") and shown.err.count("\n") == 1, shown.err
        assert [contents(folder) for folder in (tmp_path, bad)] == before, "something was written"
        return shown.err

    return run_line


@pytest.mark.parametrize(("line", "why"), CASES, ids=[line for line, _ in CASES])
def test_what_is_wrong_is_said_in_one_line(refused, line, why):

    assert re.search(why, refused(line))


@pytest.mark.parametrize("line", WRITING, ids=[line.split()[0] for line in WRITING])
@pytest.mark.parametrize("place", ["BAD/notes.txt", "BAD/foreign", "BAD/notes.txt/out.zarr", "BAD"])
@pytest.mark.parametrize("more", ["", " --overwrite"])
def test_a_place_that_holds_something_else_is_left_alone(refused, line, place, more):
    assert "Choose another output" in refused(line.format(place) + more)


@pytest.mark.parametrize("line", WRITING, ids=[line.split()[0] for line in WRITING])
def test_the_output_of_another_run_is_left_alone(refused, tmp_path, line):
    command = line.split()[0]
    write_json(tmp_path / "out.zarr" / "ledger" / command / "run.json", {"command": command, "block": 1})
    message = refused(line.format("out.zarr"))
    assert "holds the output of another run" in message and "block: 1 -> " in message


@pytest.mark.parametrize("line", WRITING[1:], ids=[line.split()[0] for line in WRITING[1:]])
def test_a_group_of_the_older_zarr_format_is_left_alone(refused, tmp_path, line):
    create_group(tmp_path / "v2.zarr", 2)
    assert re.search("zarr format 2.*Choose another output", refused(line.format("v2.zarr")))


def test_the_phantom_takes_no_folder_of_skeletons_that_is_not_its_own(refused, tmp_path):
    (tmp_path / "out.skeletons").mkdir()
    (tmp_path / "out.skeletons" / "1.swc").write_text("traced by hand")
    assert "out.skeletons: exists already" in refused("phantom out.zarr --shape 8 8 8 --truth")


def test_what_is_right_is_not_refused(bad, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for line in (
        f"info {bad}/a.h5/raw",
        f"info {bad}/a.h5/flat",
        f"convert {bad}/a.h5/bare out.zarr --voxel-size 1 1 1",
        f"evaluate {bad}/a.h5/labels {bad}/a.h5/labels",
    ):
        assert run(line.split()) == 0, capsys.readouterr().err
        assert capsys.readouterr().out
