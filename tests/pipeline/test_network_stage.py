"""Blocks of the network stage: which write to one chunk, and that a run keeps to those it began with."""

import itertools

import numpy as np
import pytest

from connectomics.blockwise.grid import Grid
from connectomics.cli.main import run
from connectomics.inference import predictor, translation_engine
from connectomics.inference.tiles import TileLattice
from connectomics.io.ome_zarr import create_array
from connectomics.io.opening import open_volume
from connectomics.pipeline.network_stage import _chunks, _sharing
from tests.conftest import VOXEL_SIZE
from tests.pipeline.test_translate import command, translator, volume  # noqa: F401


def chunks_of(block, scale, chunks):
    spans = [
        range(s.start * f // c, (s.stop * f - 1) // c + 1)
        for s, f, c in zip(block.box, scale, chunks, strict=True)
    ]
    return set(itertools.product(*spans))


@pytest.mark.parametrize("scale", [(1, 1, 1), (1, 2, 3)])
@pytest.mark.parametrize(
    ("start", "alone"), [((0, 0, 0), True), ((32, 64, 96), True), ((0, 0, 7), False), ((90, 1, 33), False)]
)
@pytest.mark.parametrize("shape", [(200, 70, 130), (40, 150, 300)])
def test_blocks_that_write_to_one_chunk_are_kept_apart(scale, start, alone, shape):
    grid = Grid(shape, (96, 128, 128), start)
    core, low, fine = (
        tuple(n * f for n, f in zip(e, scale, strict=True)) for e in (grid.block, start, shape)
    )
    chunks = _chunks(core, low, fine)
    apart = _sharing(grid, scale, chunks)
    touched = [(block.index, chunks_of(block, scale, chunks)) for block in grid]
    for (one, mine), (other, theirs) in itertools.combinations(touched, 2):
        near = all(abs(a - b) <= n for a, b, n in zip(one, other, apart, strict=True))
        assert near or not mine & theirs, (one, other, chunks)
    assert any(apart) is not alone


def test_a_run_goes_on_with_the_tiles_it_began_with(volume, translator, tmp_path, monkeypatch):  # noqa: F811
    """Another device, or another share of the memory, would take others, and the ledger counts by them."""
    out, whole, edges, calls = tmp_path / "out.zarr", tmp_path / "whole.zarr", [16, 32], []
    line, again = (
        [word for word in command(volume, place, translator) if word not in ("--tile", "16")]
        for place in (out, whole)
    )

    def chosen(budget, cost, shape, rule):
        return TileLattice(tuple(shape), (edges[0],) * 3, rule.margin, rule.divisor)

    monkeypatch.setattr(predictor, "choose_tile", chosen)
    assert run(again) == 0
    engine = translation_engine.TranslationEngine.__call__

    def interrupted(self, tile):
        calls.append(tile.shape)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return engine(self, tile)

    monkeypatch.setattr(translation_engine.TranslationEngine, "__call__", interrupted)
    assert run(line) == 130
    edges.pop(0)
    assert run(line) == 0
    for name in ("em", "aleatoric", "epistemic"):
        expected = open_volume(f"{whole}/{name}").read()
        np.testing.assert_array_equal(open_volume(f"{out}/{name}").read(), expected)


@pytest.fixture
def own_input(cells, tmp_path):
    """An image that lies where `predict` writes its product."""
    image = create_array(
        tmp_path / "q.zarr", "prediction", shape=(24,) * 3, dtype=np.uint8, chunks=(24,) * 3,
        voxel_size=VOXEL_SIZE, offset=(0, 0, 0),
    )  # fmt: skip
    image.write_box((slice(None),) * 3, cells[:24, :24, :24])
    return tmp_path / "q.zarr"


@pytest.mark.parametrize("where", ["", "prediction/x.zarr"])
@pytest.mark.parametrize("more", [[], ["--overwrite"]])
def test_a_run_never_touches_its_own_input(own_input, where, more, model, capsys):
    before = {path: path.read_bytes() for path in own_input.rglob("*") if path.is_file()}
    line = ["predict", f"{own_input}/prediction", str(own_input / where), "--model", str(model), *more]
    assert run(line) == 2
    error = capsys.readouterr().err
    assert "would write over the input" in error
    assert before == {path: path.read_bytes() for path in own_input.rglob("*") if path.is_file()}


def test_labels_are_no_image(own_input, tmp_path, model, capsys):
    labels = create_array(
        tmp_path / "q.zarr", "labels/truth", shape=(24,) * 3, dtype=np.uint8, chunks=(24,) * 3,
        voxel_size=VOXEL_SIZE, offset=(0, 0, 0), kind="label",
    )  # fmt: skip
    labels.write_box((slice(None),) * 3, np.arange(24**3, dtype=np.uint8).reshape((24,) * 3))
    assert (
        run(["predict", f"{own_input}/labels/truth", str(tmp_path / "out.zarr"), "--model", str(model)]) == 2
    )
    assert "expected an image, got labels" in capsys.readouterr().err and not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize(
    ("core", "start", "expected"),
    [(128, 0, 64), (288, 0, 96), (96, 0, 96), (96, 32, 32), (225, 0, 75), (50, 0, 50)],
)
def test_chunks_are_parts_of_blocks_and_of_a_handy_size(core, start, expected):
    assert _chunks((core,) * 3, (start,) * 3, (1000,) * 3) == (expected,) * 3
