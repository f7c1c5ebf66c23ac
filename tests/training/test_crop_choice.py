"""The crop that a memory holds, and what a run does when a step finds none."""

import csv
import json
import math

import pytest
import torch

from connectomics.cli.main import run
from connectomics.errors import OutputExistsError, RunFailed, SettingsError
from connectomics.training import callbacks, crop_choice
from connectomics.training.crop_choice import (
    RECORD,
    growing_crops,
    is_out_of_memory,
    read_record,
    settle_crop,
    sizes_to_measure,
)
from connectomics.training.module import AffinityTraining
from connectomics.training.step_memory import StepMemory, measure_steps
from connectomics.training.train import train


def test_crops_grow_by_steps_and_keep_their_proportions():
    crops = growing_crops((32, 64, 64), (8, 8, 8), (64, 100, 200))
    volumes = [math.prod(crop) for crop in crops]
    assert volumes == sorted(set(volumes)) and crops[0] == (8, 8, 8) and crops[-1] == (64, 96, 200)
    assert (32, 64, 64) in crops and (48, 96, 96) in crops
    assert all(n % 8 == 0 for crop in crops for n in crop)
    assert growing_crops((32, 64, 64), (8, 8, 8), (4, 4, 4)) == [(8, 8, 8)]


def test_two_sizes_far_apart_are_measured():
    crops = growing_crops((64, 64, 64), (8, 8, 8), (200, 200, 200))
    low, high = sizes_to_measure(crops, 2)
    assert math.prod(low) * 2 >= 2**16 > math.prod(low)
    assert 3 * math.prod(low) <= math.prod(high) < 4 * math.prod(low)
    assert sizes_to_measure(crops[:1], 2) == crops[:1]
    assert sizes_to_measure(crops[:3], 2) == crops[1:3]


def too_much():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried"),
        RuntimeError("not enough memory: you"),
    ],
)
def test_memory_that_runs_out_is_known(error):
    assert is_out_of_memory(error) and is_out_of_memory(too_much())


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes differ"), ValueError("out of memory"), KeyboardInterrupt()]
)
def test_other_errors_are_not_taken_for_it(error):
    assert not is_out_of_memory(error)


BYTES = {"start": 5_000_000, "voxel": 1000}


@pytest.fixture
def line(monkeypatch):
    """Steps that take 5 MB and 1000 bytes a voxel, in a process that holds 100 MB."""

    def measure(settings, crops):
        asked.append(crops)
        return [StepMemory(c, BYTES["start"] + BYTES["voxel"] * math.prod(c)) for c in crops]

    asked: list = []
    monkeypatch.setattr(crop_choice, "measure_steps", measure)
    monkeypatch.setattr(crop_choice, "_held_bytes", lambda settings, sources: 100_000_000)
    return asked


def sources(edge=200):
    volume = torch.zeros(1, 1, 1, dtype=torch.uint8).expand(edge, edge, edge)
    return [type("Volume", (), {"raw": volume})()]


def test_the_largest_crop_that_fits_is_chosen_and_kept(toy, tmp_path, line, caplog):
    caplog.set_level("INFO")
    asked = toy.model_copy(update={"memory": 300_000_000})
    chosen = settle_crop(asked, tmp_path, sources()).crop
    fitting = (0.95 * asked.memory - 105_000_000) / BYTES["voxel"]
    crops = growing_crops(toy.crop, (4, 4, 4), (200, 200, 200))
    assert chosen == [c for c in crops if math.prod(c) <= fitting][-1]
    record = read_record(tmp_path)
    assert record["memory"] == asked.memory and len(record["measured"]) == 2
    assert record["predicted_bytes"] == 105_000_000 + 1000 * math.prod(chosen)
    assert str(chosen) in caplog.text and "16, 16, 16" in caplog.text
    assert settle_crop(asked, tmp_path, sources(12)).crop == chosen and len(line) == 1


def test_a_crop_is_no_larger_than_the_smallest_volume(toy, tmp_path, line, caplog):
    caplog.set_level("INFO")
    asked = toy.model_copy(update={"memory": 10**12})
    assert settle_crop(asked, tmp_path, sources(50)).crop == (48, 48, 48)
    assert "smallest training volume" in caplog.text


def test_too_little_memory_says_what_would_do(toy, tmp_path, line):
    asked = toy.model_copy(update={"memory": 90_000_000})
    with pytest.raises(SettingsError, match=r"0\.09 GB is too little .*--memory 0\.2GB"):
        settle_crop(asked, tmp_path, sources())
    assert read_record(tmp_path) is None


def test_without_memory_the_recipe_decides(toy, tmp_path, line):
    assert settle_crop(toy, tmp_path, sources()) == toy
    assert line == [] and read_record(tmp_path) is None


def fail_at(monkeypatch, steps, error):
    """Let the first attempts at some steps fail; what is taken in the end is in the list returned."""
    left, taken, learn = list(steps), [], AffinityTraining.training_step

    def training_step(self, batch, batch_idx):
        if self.global_step in left:
            left.remove(self.global_step)
            raise error
        taken.append((self.global_step, self.settings.crop))
        return learn(self, batch, batch_idx)

    monkeypatch.setattr(AffinityTraining, "training_step", training_step)
    return taken


@pytest.mark.parametrize("error", [MemoryError(), too_much()], ids=["python", "torch"])
def test_a_step_out_of_memory_is_taken_again_with_a_smaller_crop(toy, tmp_path, monkeypatch, caplog, error):
    taken = fail_at(monkeypatch, [0, 5], error)
    short = toy.model_copy(update={"steps": 9, "log_every": 1, "checkpoint_every": 100})
    train(short, tmp_path / "run")
    assert [step for step, _ in taken] == list(range(9))  # none is taken twice
    sizes = [crop for _, crop in taken]
    assert sizes == [(12, 16, 16)] * 5 + [sizes[-1]] * 4
    assert math.prod(sizes[-1]) <= 0.75 * math.prod(sizes[0])
    record = read_record(tmp_path / "run")
    assert [entry["step"] for entry in record["out_of_memory"]] == [1, 6]
    assert tuple(record["crop"]) == sizes[-1] and record["recipe_crop"] == [16, 16, 16]
    assert "ran out of memory" in caplog.text
    with (tmp_path / "run/metrics.csv").open(newline="") as stream:
        assert [int(row["step"]) for row in csv.DictReader(stream) if row["loss"]] == list(range(1, 10))


def test_a_run_that_goes_on_keeps_its_smaller_crop(toy, tmp_path, monkeypatch):
    taken = fail_at(monkeypatch, [2], MemoryError())
    short = toy.model_copy(update={"steps": 8, "checkpoint_every": 4})

    def stop(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 5:
            raise KeyError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Validation, "on_train_batch_end", stop)
        with pytest.raises(KeyError):
            train(short, tmp_path / "run")
    train(short, tmp_path / "run")
    assert [crop for _, crop in taken] == [(16, 16, 16)] * 2 + [(12, 16, 16)] * (3 + 4)


def test_memory_too_small_for_any_crop_fails_with_one_line(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(
        AffinityTraining, "training_step", lambda *_: too_much() and (_ for _ in ()).throw(MemoryError())
    )
    smallest = toy.model_copy(update={"crop": (4, 4, 4), "steps": 2})
    with pytest.raises(RunFailed, match="step 1 ran out of memory with crop"):
        train(smallest, tmp_path / "run")


def test_another_error_is_not_tried_again(toy, tmp_path, monkeypatch):
    taken = fail_at(monkeypatch, [3], RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes"):
        train(toy, tmp_path / "run")
    assert len(taken) == 3 and read_record(tmp_path / "run") is None


def test_other_memory_is_another_run(toy, tmp_path, line):
    short = toy.model_copy(update={"steps": 1, "memory": 10**9})
    train(short, tmp_path / "run")
    with pytest.raises(OutputExistsError, match="memory"):
        train(short.model_copy(update={"memory": 2 * 10**9}), tmp_path / "run")


def test_steps_are_measured_in_another_process(toy):
    small, large = measure_steps(toy, [(16, 16, 16), (48, 48, 48)])
    assert small.crop == (16, 16, 16) and 0 < small.grown < large.grown
    tensors = 8 * 48**3 * 2 * 4  # at the least: a few channels of both crops
    assert tensors < large.grown < 100 * tensors


def test_what_cannot_be_measured_is_said(toy):
    broken = toy.model_copy(update={"network": toy.network.model_copy(update={"name": "NoNet"})})
    with pytest.raises(RunFailed, match=r"\(16, 16, 16\).*NoNet"):
        measure_steps(broken, [(16, 16, 16)])


def test_the_command_line_chooses_and_says_so(toy, tmp_path, line, capsys):
    config, report = tmp_path / "toy.json", tmp_path / "report.json"
    values = json.loads(toy.model_dump_json(exclude_none=True))
    config = tmp_path / "toy.toml"
    config.write_text(as_toml({**values, "steps": 1}))
    line_of = ["train", str(config), "--output", str(tmp_path / "run"), "--json", str(report)]
    assert run([*line_of, "--memory", "8XB"]) == 2
    assert "8XB" in capsys.readouterr().err and not (tmp_path / "run").exists()
    assert run([*line_of, "--memory", "200MB"]) == 0
    said = json.loads(report.read_text())
    assert said["memory"] == 200_000_000 and said["crop"] == read_record(tmp_path / "run")["crop"]
    assert (tmp_path / "run" / RECORD).exists()


def as_toml(values, prefix=""):
    """Settings as TOML, inline tables for what lies deep."""
    flat = [f"{key} = {inline(value)}" for key, value in values.items()]
    return "\n".join(flat) + "\n"


def inline(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f'"{k}" = {inline(v)}' for k, v in value.items() if v is not None) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(inline(v) for v in value) + "]"
    return json.dumps(value)
