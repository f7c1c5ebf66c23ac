"""Pyramids: every level in its place, the same for every block size, listed only when complete."""

import numpy as np
import pytest

import connectomics.io.pyramid as pyramid
from connectomics.errors import InputError
from connectomics.io.downsampling import downsample
from connectomics.io.ome_zarr import create_array, open_array
from connectomics.io.opening import open_volume
from connectomics.io.pyramid import build_pyramid, plan_levels, write_boxes

EVERYWHERE = (slice(None),) * 3
SHAPE = (21, 34, 40)


def make(path, name="labels/truth", lead=(), **changes):
    data = np.random.default_rng(3).integers(0, 4, (*lead, *SHAPE)).astype("u4")
    layout = {"chunks": (8, 8, 8), "voxel_size": (40, 10, 10), "offset": (80, 20, -30), **changes}
    kind = "label" if name.startswith("labels") else "image"
    create_array(path, name, shape=data.shape, dtype="u4", kind=kind, **layout).write_box(EVERYWHERE, data)
    return data


@pytest.mark.parametrize(
    "layout", [{"zarr_format": 2}, {"chunks": (5, 8, 16)}, {"shards": (16, 16, 16)}, {"shards": (32, 40, 40)}]
)
@pytest.mark.parametrize(("name", "lead"), [("labels/truth", ()), ("raw", ()), ("prediction", (3,))])
def test_levels_are_the_same_for_every_layout(tmp_path, layout, name, lead):
    data = make(tmp_path / "a.zarr", name, lead, **layout)
    assert build_pyramid(tmp_path / "a.zarr", name, 3) == 3
    kind = "label" if name.startswith("labels") else "image"
    once = downsample(data, (1, 2, 2), kind)
    twice = downsample(once, (1, 2, 2), kind)
    for level, expected in enumerate((data, once, twice)):
        volume = open_volume(tmp_path / "a.zarr" / name, level=level, channels=True)
        assert (volume.read() == expected).all()
        assert volume.voxel_size == (40, 10 * 2**level, 10 * 2**level)
        assert volume.offset == (80, 20, -30)


def test_a_point_lies_in_the_same_place_at_every_level(tmp_path):
    make(tmp_path / "a.zarr")
    build_pyramid(tmp_path / "a.zarr", "labels/truth", 4)
    point = np.array([500.0, 200.0, 250.0])
    base = open_array(tmp_path / "a.zarr", "labels/truth")
    fine = np.floor((point - base.offset) / base.voxel_size)
    for level in range(4):
        volume = open_array(tmp_path / "a.zarr", "labels/truth", level)
        here = np.floor((point - volume.offset) / volume.voxel_size)
        factor = np.array(volume.voxel_size) / base.voxel_size
        assert (here == fine // factor).all()


def test_by_default_down_to_one_chunk(tmp_path):
    make(tmp_path / "a.zarr")
    assert build_pyramid(tmp_path / "a.zarr", "labels/truth") == 5
    assert open_array(tmp_path / "a.zarr", "labels/truth", 4).shape == (6, 3, 3)


def test_plan_stops_at_one_voxel_and_refuses_none(tmp_path):
    make(tmp_path / "a.zarr")
    volume = open_array(tmp_path / "a.zarr", "labels/truth")
    assert plan_levels(volume, 50)[-1][1] == (1, 1, 1)
    assert plan_levels(volume, 1) == []
    with pytest.raises(InputError, match="at least 1"):
        plan_levels(volume, 0)


def test_an_interrupted_pyramid_is_not_listed_and_is_made_anew(tmp_path, monkeypatch):
    data = make(tmp_path / "a.zarr")

    def stop(done: int, total: int) -> None:
        if done == total - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_pyramid(tmp_path / "a.zarr", "labels/truth", 3, progress=stop)
    with pytest.raises(InputError, match="it has 1"):
        open_volume(tmp_path / "a.zarr/labels/truth", level=1)
    for _ in range(2):  # again, and over a complete one
        assert build_pyramid(tmp_path / "a.zarr", "labels/truth", 2) == 2
        once = open_volume(tmp_path / "a.zarr/labels/truth", level=1).read()
        assert (once == downsample(data, (1, 2, 2), "label")).all()


def test_memory_is_bounded_by_the_write_block(tmp_path, monkeypatch):
    make(tmp_path / "a.zarr")
    largest = 0
    plain = pyramid.downsample

    def watched(array, *rest):
        nonlocal largest
        largest = max(largest, array.size)
        return plain(array, *rest)

    monkeypatch.setattr(pyramid, "downsample", watched)
    build_pyramid(tmp_path / "a.zarr", "labels/truth", 4)
    assert largest <= 8 * 8**3


def test_write_boxes_cover_once():
    seen = np.zeros(SHAPE, int)
    for box in write_boxes(SHAPE, (8, 16, 40)):
        seen[box] += 1
    assert (seen == 1).all()
