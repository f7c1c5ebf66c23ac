"""Predictions do not depend on blocks; failures stay where they happen."""

import threading

import numpy as np
import pytest
import torch

from connectomics.errors import InputError
from connectomics.inference.engines import Form
from connectomics.inference.flips import FlipAverage
from connectomics.inference.normalisation import Affine, sample_affine
from connectomics.inference.predictor import predictor_for
from connectomics.inference.settings import InferenceSettings
from connectomics.networks.build import build_network, divisor_of
from connectomics.networks.checkpoint import save_model
from connectomics.networks.contract import Contract, Head, NetworkSettings, Normalisation
from connectomics.networks.models import find_model


def cut(shape, edge):
    starts = [range(0, n, edge) for n in shape]
    return [
        (
            slice(z, min(z + edge, shape[0])),
            slice(y, min(y + edge, shape[1])),
            slice(x, min(x + edge, shape[2])),
        )
        for z in starts[0]
        for y in starts[1]
        for x in starts[2]
    ]


def whole(shape):
    return tuple(slice(0, n) for n in shape)


def assemble(predictor, raw, edge):
    out = np.zeros((predictor.channels, *raw.shape), np.uint8)
    boxes = cut(raw.shape, edge)
    failures = []
    predictor.stream(
        raw.__getitem__,
        raw.shape,
        iter(boxes),
        lambda i, values: out.__setitem__((slice(None), *boxes[i]), values),
        lambda i, error: failures.append((i, error)),
    )
    assert not failures
    return out


@pytest.mark.parametrize("edge", [5, 8, 13, 16, 64])
def test_every_block_size_gives_the_same_values(make, raw, edge):
    predictor = make(margin=2, tile=8)
    expected = predictor.predict_box(raw.__getitem__, raw.shape, whole(raw.shape))
    assert (assemble(predictor, raw, edge) == expected).all()
    assert len(np.unique(expected)) > 20, "test invalid"


def test_tiles_with_the_receptive_field_as_margin_equal_one_tile(make, raw, network):
    tiled = assemble(make(margin=6, tile=8), raw, 16)
    padded = np.pad(raw, [(0, n % 2) for n in raw.shape], mode="reflect")
    with torch.inference_mode():
        source = torch.from_numpy((padded.astype(np.float32) - 100) / 50)[None, None]
        logits = torch.sigmoid(network(source))[0, :, : raw.shape[0], : raw.shape[1], : raw.shape[2]]
    assert np.abs(tiled - logits.numpy() * 255).max() < 0.51
    narrow = assemble(make(margin=0, tile=8), raw, 16)
    assert (narrow != tiled).any(), "test invalid"


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 40, 2), (7, 7, 7)])
def test_tiny_volumes(make, shape):
    raw = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    predictor = make()
    assert predictor.predict_box(raw.__getitem__, shape, whole(shape)).shape == (3, *shape)


def test_leading_channels_only(make, raw):
    every, two = make(), make(channels=2)
    box = whole(raw.shape)
    values = every.predict_box(raw.__getitem__, raw.shape, box)
    assert (two.predict_box(raw.__getitem__, raw.shape, box) == values[:2]).all()


@pytest.mark.parametrize("where", ["read", "network", "write", "box"])
def test_one_failure_leaves_the_other_boxes(make, raw, where):
    predictor, boxes = make(tile=8), cut(raw.shape, 16)
    done, failed, engine = [], {}, predictor.engine
    if where == "box":
        boxes[3] = (slice(0, 99),) * 3

    def read(box):
        last = all(part.stop == n for part, n in zip(box[1:], raw.shape[1:], strict=True))
        if where == "read" and box[0].start == 0 and last:
            raise OSError("bad disk")
        return raw[box]

    def write(index, values):
        if where == "write" and index == 3:
            raise OSError("full disk")
        done.append(index)

    class Broken:
        name, form, calls = "broken", Form(3), 0

        def __call__(self, tile):
            self.calls += 1
            if where == "network" and self.calls == 1:
                raise RuntimeError("out of memory")
            return engine(tile)

    predictor.engine = Broken()
    predictor.stream(read, raw.shape, boxes, write, lambda i, error: failed.update({i: error}))
    expected = 0 if where == "network" else 3
    assert expected in failed
    assert sorted([*done, *failed]) == list(range(len(boxes)))
    assert len(failed) < len(boxes)


def test_an_interrupt_stops_all_stages(make, raw):
    predictor = make(tile=8)

    class Interrupted:
        name, form = "interrupted", Form(3)

        def __call__(self, tile):
            raise KeyboardInterrupt

    predictor.engine = Interrupted()
    before = threading.active_count()
    done = []
    with pytest.raises(KeyboardInterrupt):
        predictor.stream(raw.__getitem__, raw.shape, cut(raw.shape, 8), lambda i, v: done.append(i), print)
    assert threading.active_count() == before
    assert not done


def test_an_error_of_the_box_source_is_not_swallowed(make, raw):
    def boxes():
        yield cut(raw.shape, 8)[0]
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        make(tile=8).stream(raw.__getitem__, raw.shape, boxes(), lambda i, v: None, lambda i, e: None)


def test_nan_is_refused(make):
    raw = np.full((8, 8, 8), np.nan, np.float32)
    with pytest.raises(InputError, match="NaN"):
        make().predict_box(raw.__getitem__, raw.shape, whole(raw.shape))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_sampled_normalisation(dtype):
    raw = np.random.default_rng(0).normal(100, 20, (40, 50, 60)).astype(dtype)
    affine = sample_affine(raw.__getitem__, raw.shape)
    assert abs(affine.mean - raw.mean()) < 1 and abs(affine.std - raw.std()) < 1
    assert affine == sample_affine(raw.__getitem__, raw.shape)
    assert affine.apply(raw).dtype == np.float32


@pytest.mark.parametrize("value", [0, 7.5, 1e6])
def test_constant_data_is_refused(value):
    raw = np.full((40, 40, 40), value, np.float32)
    with pytest.raises(InputError, match="constant"):
        sample_affine(raw.__getitem__, raw.shape)
    with pytest.raises(InputError):
        Affine(1.0, 0.0)


def test_a_volume_of_few_voxels_that_differ_is_no_constant_one():
    raw = np.zeros((128, 128, 128), np.uint8)
    raw[40:54, 40:54, 40:54] = np.random.default_rng(0).integers(50, 250, (14, 14, 14))
    assert sample_affine(raw.__getitem__, raw.shape).std > 0


def test_voxels_that_are_no_number_do_not_scale_the_others():
    raw = np.random.default_rng(0).normal(100, 20, (40, 40, 80)).astype(np.float32)
    raw[:, :, 60:] = np.nan
    affine = sample_affine(raw.__getitem__, raw.shape)
    assert abs(affine.mean - 100) < 1 and abs(affine.std - 20) < 1
    with pytest.raises(InputError, match="NaN"):
        sample_affine(np.full_like(raw, np.inf).__getitem__, raw.shape)


class Truth:
    """An engine whose affinities are exact: high where v and v + offset have the same intensity."""

    name, form = "truth", Form(3)
    offsets = ((-1, 0, 0), (0, -3, 0), (0, 0, -1))

    def __call__(self, tile):
        out = np.zeros((3, *tile.shape[2:]), np.uint8)
        for channel, offset in enumerate(self.offsets):
            there = np.roll(tile[0, 0], [-o for o in offset], (0, 1, 2))
            out[channel] = 255 * (there == tile[0, 0])
            out[channel][tuple(slice(0, -o) if o else slice(None) for o in offset)] = 0
        return out


@pytest.mark.parametrize("flips", [2, 4, 8])
def test_mirror_images_give_affinities_back_to_their_voxel(flips):
    tile = np.random.default_rng(0).integers(0, 2, (1, 1, 8, 9, 10)).astype(np.float32)
    engine = Truth()
    inside = (slice(None), slice(1, None), slice(3, None), slice(1, None))
    assert (FlipAverage(engine, engine.offsets, flips)(tile)[inside] == engine(tile)[inside]).all()


def test_mirror_images_need_offsets():
    with pytest.raises(InputError, match="flips 1"):
        FlipAverage(Truth(), [(-1, 0, 0)], 2)


def test_the_predictor_of_a_saved_model(tmp_path, raw):
    offsets = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
    settings = NetworkSettings(name="BasicUNet", parameters={})
    contract = Contract(
        name="tiny",
        network=settings,
        heads=(Head(kind="affinities", offsets=offsets),),
        voxel_size=(10, 10, 10),
        modality="em",
        normalisation=Normalisation(kind="sampled"),
        margin=(8, 8, 8),
        divisor=divisor_of(settings),
    )
    save_model(tmp_path / "tiny", build_network(settings, 1, 3), contract)
    model = find_model(tmp_path / "tiny")
    inference = InferenceSettings(device="cpu", engine="torch", flips=2, memory="30GB")
    predictor = predictor_for(model, inference, raw.__getitem__, raw.shape)
    assert predictor.affine == sample_affine(raw.__getitem__, raw.shape)
    assert predictor.predict_box(raw.__getitem__, raw.shape, whole(raw.shape)).shape == (3, *raw.shape)
    assert predictor.peak_bytes(raw.shape) < 30e9
