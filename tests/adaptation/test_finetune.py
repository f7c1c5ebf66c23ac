"""Fine-tuning: deep layers wait, statistics are the new volume's, skeletons count, runs resume."""

import json
import logging
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from connectomics.adaptation.settings import AdaptSettings
from connectomics.cli.main import run
from connectomics.io.ome_zarr import open_array
from connectomics.networks.build import divisor_of
from connectomics.networks.checkpoint import load_network
from connectomics.networks.layers import parameter_depths
from connectomics.networks.models import find_model
from connectomics.training.annotations import read_todo
from connectomics.training.finetune_settings import FinetuneSettings
from connectomics.training.rates import group_rate, parameter_groups
from connectomics.training.settings import TrainSettings
from connectomics.training.train import read_recipe
from tests.adaptation.test_select import paint
from tests.conftest import VOXEL_SIZE

QUICK = "--steps 6 --batch 1 --training-crop 16 16 16 --statistics 2 --device cpu --quiet"


def finetune(models, folder, output, *more):
    line = f"adapt finetune --model {models}/cells --annotations {folder} --output {output} {QUICK}"
    return run([*line.split(), *more])


@pytest.fixture
def done(annotate, labels):
    """Four crops, all annotated; the last is held out."""
    folder = annotate("--held-out", "1")
    paint(folder, labels, range(4))
    return folder


def test_a_run_says_where_it_came_from_and_what_it_came_to(models, done, tmp_path):
    assert finetune(models, done, tmp_path / "run", "--json", str(tmp_path / "report.json")) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    contract = find_model(tmp_path / "run" / "model").contract
    assert report["cubes"] == 3 and report["validation_crops"] == ["crop-04"]
    assert report["minutes_expected"] >= 0 and "validation_voi_sum" in report["scores"]
    assert report["scores_before"].keys() == report["scores"].keys()
    assert contract.training.source_model.startswith("toy (") and "crop-01" in contract.training.annotations
    assert contract.name == "toy-adapted" and contract.features is not None
    assert json.loads((tmp_path / "run" / "adaptation.json").read_text())["cubes"] == 3
    before = (tmp_path / "run" / "model" / "weights.safetensors").read_bytes()
    assert finetune(models, done, tmp_path / "run") == 0, "complete already"
    assert (tmp_path / "run" / "model" / "weights.safetensors").read_bytes() == before
    assert finetune(models, done, tmp_path / "run", "--crops", "1") == 2, "another run"
    array = open_array(done, read_todo(done).crops[0].annotation)
    array.write_box((slice(0, 1), slice(0, 1), slice(0, 1)), np.full((1, 1, 1), 99, np.uint32))
    assert finetune(models, done, tmp_path / "run") == 2, "painted otherwise since"


def test_crops_that_are_learnt_from_do_not_score(models, done, tmp_path, capsys):
    assert finetune(models, done, tmp_path / "run", "--validation", str(done)) == 2
    assert "scored with" in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_plan_reads_what_runs_left(models, done, tmp_path, capsys):
    for cubes in (1, 2):
        assert finetune(models, done, tmp_path / f"run{cubes}", "--crops", str(cubes)) == 0
    runs = [str(tmp_path / f"run{cubes}") for cubes in (1, 2)]
    drawn = ["--picture", str(tmp_path / "plan.svg")]
    assert run(["adapt", "plan", *runs, "--json", str(tmp_path / "plan.json"), *drawn]) == 0
    assert "<svg" in (tmp_path / "plan.svg").read_text()
    found = json.loads((tmp_path / "plan.json").read_text())
    assert [point["cubes"] for point in found["points"]] == [1, 2]
    assert isinstance(found["annotate_more"], bool) and found["predictions"][0]["cubes"] == 4
    assert run(["adapt", "plan", runs[0]]) == 2
    assert "two different numbers of cubes" in capsys.readouterr().err
    record = json.loads((tmp_path / "run2" / "adaptation.json").read_text())
    (tmp_path / "run2" / "adaptation.json").write_text(json.dumps(record | {"validation_crops": ["crop-09"]}))
    assert run(["adapt", "plan", *runs]) == 0
    assert "other crops" in " ".join(capsys.readouterr().err.split())


def settings_of(models, **finetune_values):
    from connectomics.adaptation.recipe import recipe_for

    values = recipe_for(find_model(models / "cells"), (16, 16, 16), (10.0, 10.0, 10.0), AdaptSettings())
    values["finetune"] |= finetune_values
    values["data"]["phantoms"] = [{}]
    return TrainSettings.parse(values)


def test_an_outline_for_the_affinities_of_before_is_not_kept(models):
    from connectomics.adaptation.recipe import recipe_for

    cells = find_model(models / "cells")
    own = {"linkage": "median", "outline": 0.8}
    changed = replace(cells, contract=cells.contract.model_copy(update={"segmentation": own}))
    values = recipe_for(changed, (16, 16, 16), (10.0, 10.0, 10.0), AdaptSettings())
    assert values["validation"]["segmentation"] == {"linkage": "median"}


def test_deeper_layers_wait_and_then_learn_slower(models):
    settings = settings_of(models, head_share=0.4, depth_decay=0.5)
    network = load_network(find_model(models / "cells"))
    groups = parameter_groups(network, settings)
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
    early = {group["depth"]: group_rate(group, settings, 0.3, 1.0) for group in groups}
    late = {group["depth"]: group_rate(group, settings, 0.5, 1.0) for group in groups}
    assert early.pop(0) > 0 and set(early.values()) == {0.0}
    assert late[0] == settings.optimiser.lr and late[1] == pytest.approx(late[0] / 2)
    assert late[max(late)] == pytest.approx(late[0] * 0.5 ** max(late)) and max(late) >= 4
    plain = settings.model_copy(update={"finetune": None})
    assert {group_rate(group, plain, 0.1, 1.0) for group in parameter_groups(network, plain)} == {
        settings.optimiser.lr
    }


def test_in_the_first_share_of_the_run_only_the_last_layers_change(models, done, tmp_path):
    from connectomics.adaptation.finetune import train_settings
    from connectomics.training.annotations import annotated_volumes
    from connectomics.training.train import train

    model = find_model(models / "cells")
    found = annotated_volumes(done, str(done))
    options = AdaptSettings(steps=4, batch=1, training_crop=(16, 16, 16), statistics=0)
    changed = {}
    for share in (0.0, 0.99):
        recipe = train_settings(model, found, options, None, "cpu")
        recipe = recipe.model_copy(update={"finetune": FinetuneSettings(head_share=share, statistics=0)})
        after = load_network(find_model(train(recipe, tmp_path / f"run{share}")))
        pairs = zip(load_network(model).named_parameters(), after.parameters(), strict=True)
        stored = ((name, a.half().float() if a.ndim > 1 else a, b) for (name, a), b in pairs)
        changed[share] = {name for name, a, b in stored if not torch.equal(a, b)}
    depths = parameter_depths(load_network(model), 1, divisor_of(model.contract.network))
    assert {depths[name] for name in changed[0.99]} == {0}
    assert len({depths[name] for name in changed[0.0]}) > 3, "test invalid"


def test_skeletons_alone_are_learnt_from(models, annotate, tmp_path):
    folder = annotate(count=1)
    crop = read_todo(folder).crops[0]
    (folder / crop.skeletons).mkdir()
    for number, at in enumerate((4, 11), 1):
        z, y, x = (o + at * v for o, v in zip(crop.offset, VOXEL_SIZE, strict=True))
        line = f"1 0 {x} {y} {z} 1 -1\n2 0 {x} {y} {z + 160} 1 1\n"
        (folder / crop.skeletons / f"{number}.swc").write_text(line)
    assert finetune(models, folder, tmp_path / "run") == 0
    assert find_model(tmp_path / "run" / "model").contract.scores == {}


def test_without_labels_only_statistics_change(models, annotate, tmp_path):
    folder = annotate(count=2)
    assert finetune(models, folder, tmp_path / "free", "--label-free") == 0
    before = load_network(find_model(models / "cells"))
    after = load_network(find_model(tmp_path / "free" / "model"))
    weights = zip(before.parameters(), after.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)
    pairs = zip(before.named_buffers(), after.buffers(), strict=True)
    means = [(a, b) for (name, a), b in pairs if name.endswith("running_mean")]
    assert means and not any(torch.equal(a, b) for a, b in means)
    assert finetune(models, folder, tmp_path / "free", "--label-free") == 2


def test_without_held_out_crops_a_slab_of_each_is_scored(models, annotate, labels, tmp_path):
    folder = annotate(count=2)
    paint(folder, labels, range(2))
    line = ("--hold-out", "0.25", "--json", str(tmp_path / "report.json"))
    assert finetune(models, folder, tmp_path / "run", *line) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["validation_crops"] == [f"crop-0{n}, its last 4 sections" for n in (1, 2)]
    assert report["scores"]["validation_voi_sum"] >= 0 and report["cubes"] == 2
    settings = TrainSettings.parse(json.loads((tmp_path / "run" / "settings.json").read_text()))
    fit, held_out = settings.data.volumes[0], settings.validation.volumes[0]
    assert fit.raw == held_out.raw and fit.region[0][1] == held_out.score_region[0][0]
    assert finetune(models, folder, tmp_path / "none", "--hold-out", "0") == 0
    assert find_model(tmp_path / "none" / "model").contract.scores == {}


def test_minutes_are_said_before(models, done, tmp_path, caplog):
    from connectomics.adaptation.finetune import finetune as adapt

    model = find_model(models / "cells")
    options = AdaptSettings(steps=2, batch=1, training_crop=(16, 16, 16), statistics=0)
    with caplog.at_level(logging.INFO, "connectomics"):
        report = adapt(model, done, tmp_path / "run", options, None, "cpu")
    said = [record.getMessage() for record in caplog.records]
    first = next(i for i, text in enumerate(said) if "minutes; it ends after" in text)
    assert first < next(i for i, text in enumerate(said) if text.startswith("step "))
    assert np.isfinite(report["minutes_expected"])


def test_crops_of_nearly_the_voxels_of_the_model_are_learnt_from_as_they_are(models, cells, labels, tmp_path):
    size = tuple(1.04 * v for v in VOXEL_SIZE)
    with h5py.File(tmp_path / "near.h5", "w") as file:
        file.create_dataset("cells", data=cells).attrs["resolution"] = size
    folder = tmp_path / "todo"
    line = f"adapt select {tmp_path}/near.h5/cells {folder} --model {models}/cells -n 1 --crop 16 16 16"
    assert run([*line.split(), "--engine", "torch", "--candidates", "4", "--quiet"]) == 0
    (crop,) = read_todo(folder).crops
    low = [round(o / v) for o, v in zip(crop.offset, size, strict=True)]
    painted = labels[tuple(slice(a, a + n) for a, n in zip(low, crop.shape, strict=True))]
    open_array(folder, crop.annotation).write_box((slice(None),) * 3, painted)
    assert finetune(models, folder, tmp_path / "run") == 0
    assert find_model(tmp_path / "run" / "model").contract.voxel_size == pytest.approx(size)
    values = read_recipe(folder)
    assert values["data"]["voxel_size"] == pytest.approx(size)
