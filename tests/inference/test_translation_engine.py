"""Passes and what is made of them: means and spreads by the book, no seams, no pass too many."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from connectomics.errors import InputError, ModelError
from connectomics.inference.dropout import SampledDropout, channel_mask, sample_dropout
from connectomics.inference.engines import Form
from connectomics.inference.memory import MemoryCost, TileRule, choose_tile
from connectomics.inference.normalisation import Affine
from connectomics.inference.passes import IMAGES, Pass, channel_names, default_samples, plan_passes
from connectomics.inference.predictor import Predictor
from connectomics.inference.settings import InferenceSettings
from connectomics.inference.torch_engine import TorchDevice
from connectomics.inference.translation_engine import Reading, TranslationEngine, prepare
from connectomics.networks.contract import Contract, Head, NetworkSettings, Normalisation, UncertaintyScales
from connectomics.networks.heads import LOG_VARIANCE
from connectomics.training.translation_validation import _run_passes
from tests.inference.conftest import FIXED
from tests.inference.test_predictor import cut, whole

SCALE = (2, 3, 3)
GREY = Normalisation(mean=120.0, std=40.0)
SCALES = UncertaintyScales(aleatoric=1.5, epistemic=2.0, intervals={"0.9": 1.7})


class Finer(nn.Module):
    """Pooling, dropout and upsampling: sees 4 voxels to a side, in the pooling's phase."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.Dropout3d(dropout), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv3d(8, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU())
        self.last = nn.Conv3d(16, 2 * 18, 1)
        self.calls = 0

    def forward(self, tile: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        high = self.first(tile)
        low = nn.functional.interpolate(self.deep(nn.functional.max_pool3d(high, 2)), scale_factor=2)
        mixed = self.last(torch.cat([high, low], 1))
        n, _, z, y, x = mixed.shape
        cells = mixed.reshape(n, 2, *SCALE, z, y, x).permute(0, 1, 5, 2, 6, 3, 7, 4)
        return cells.reshape(n, 2, *(e * s for e, s in zip((z, y, x), SCALE, strict=True)))


def contract(dropout=0.0, members=1, heads=("intensity", "log_variance")):
    return Contract(
        name="finer",
        network=NetworkSettings(upsample=SCALE, dropout=dropout),
        heads=tuple(Head(kind=kind) for kind in heads),
        voxel_size=(60, 90, 90),
        modality="xray",
        normalisation=Normalisation(mean=100.0, std=50.0),
        output_normalisation=GREY,
        members=members,
        margin=(6, 6, 6),
        divisor=(2, 2, 2),
        uncertainty=SCALES,
    )


def ensemble(members=1, dropout=0.0):
    made = contract(dropout, members)
    networks = []
    for member in range(members):
        torch.manual_seed(member)
        networks.append(prepare(Finer(dropout).eval(), made))
    return networks, made


def engine_of(passes, members=1, dropout=0.0):
    networks, made = ensemble(members, dropout)
    form = Form(len(channel_names(made, len(passes))), SCALE, np.float32)
    return TranslationEngine(networks, Reading.of(made), passes, TorchDevice("cpu", 1, "f32"), form)


def predictor_of(samples, margin=6, tile=8, members=1, dropout=0.5):
    engine = engine_of(plan_passes(samples, members, dropout > 0), members, dropout)
    rule = TileRule((margin,) * 3, (2, 2, 2), 8)
    settings = InferenceSettings.parse({**FIXED, "tile": tile})
    return Predictor(engine, Affine(100.0, 50.0), rule, settings, MemoryCost(0, 1.0))


@pytest.fixture
def tile():
    return np.random.default_rng(0).normal(size=(1, 1, 8, 10, 12)).astype(np.float32)


# --- which passes ------------------------------------------------------------------------------------------


def test_passes_are_shared_out_in_turn():
    assert plan_passes(2, 3, True) == [Pass(0), Pass(1)]
    dropped = plan_passes(5, 2, True)
    assert [one.member for one in dropped] == [0, 1, 0, 1, 0]
    assert len({one.seed for one in dropped}) == 5 and all(one.axes == () for one in dropped)
    mirrored = plan_passes(8, 1, False)
    assert sorted(one.axes for one in mirrored) == sorted(IMAGES)
    assert {one.axes for one in plan_passes(4, 1, True, flips=2)} == {(), (2,)}


def test_more_passes_than_there_are_different_ones_are_refused():
    with pytest.raises(InputError, match=r"--samples 17.*--samples 16 or fewer"):
        plan_passes(17, 2, False)
    with pytest.raises(InputError, match="--samples 2 or fewer"):
        plan_passes(3, 1, False, flips=2)


def test_the_passes_that_nobody_asks_for_are_those_of_the_calibration():
    assert default_samples(contract()) == 1
    assert default_samples(contract(dropout=0.1)) == 8
    assert default_samples(contract(dropout=0.1, members=3)) == 3
    calibrated = contract().model_copy(update={"uncertainty": UncertaintyScales(samples=5)})
    assert default_samples(calibrated) == 5


def test_what_comes_out_depends_on_heads_and_passes():
    assert channel_names(contract(), 4) == ("em", "aleatoric", "epistemic")
    assert channel_names(contract(), 1) == ("em", "aleatoric")
    assert channel_names(contract(heads=("intensity",)), 2) == ("em", "epistemic")


# --- what is made of them ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_mean_and_spreads_are_those_of_the_passes_one_by_one(tile, dropout):
    passes = plan_passes(6, 2, dropout > 0)
    em, aleatoric, epistemic = engine_of(passes, 2, dropout)(tile)
    single = [engine_of([one], 2, dropout)(tile) for one in passes]
    greys = np.stack([values[0] for values in single])
    deviations = np.stack([values[1] for values in single]) / (SCALES.aleatoric * GREY.std)
    assert em.shape == tuple(n * f for n, f in zip(tile.shape[2:], SCALE, strict=True))
    np.testing.assert_allclose(em, greys.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(epistemic, SCALES.epistemic * greys.std(axis=0, ddof=1), rtol=1e-3, atol=1e-3)
    expected = SCALES.aleatoric * GREY.std * np.sqrt(np.square(deviations).mean(axis=0))
    np.testing.assert_allclose(aleatoric, expected, rtol=1e-4)
    assert greys.std(axis=0).mean() > 0.1, "test invalid"


def test_grey_values_and_variances_are_the_heads_in_grey_levels(tile):
    networks, _ = ensemble()
    with torch.inference_mode():
        heads = networks[0](torch.from_numpy(tile))[0].numpy()
    em, aleatoric = engine_of([Pass(0)])(tile)
    np.testing.assert_allclose(em, 120 + 40 * heads[0], rtol=1e-5)
    np.testing.assert_allclose(aleatoric, 1.5 * 40 * np.exp(heads[1] / 2), rtol=1e-5)


def test_a_variance_beyond_its_bounds_counts_as_in_the_calibration(tile):
    networks, _ = ensemble()
    far = 300 * tile
    image = torch.from_numpy(far[0, 0])
    with torch.inference_mode():
        logarithm = networks[0](torch.from_numpy(far))[0, 1]
    calibrated = _run_passes(networks, image, (2, 2, 2), [Pass(0)])[1].numpy()
    np.testing.assert_allclose(engine_of([Pass(0)])(far)[1], 1.5 * 40 * calibrated, rtol=1e-4)
    assert logarithm.min() < LOG_VARIANCE[0] and logarithm.max() > LOG_VARIANCE[1], "test invalid"


def test_equal_passes_leave_no_epistemic_uncertainty(tile):
    assert (engine_of([Pass(0)] * 3)(tile)[2] == 0).all()
    assert (engine_of([Pass(0), Pass(0, (2,))])(tile)[2] > 0).any(), "test invalid"


def test_every_pass_is_one_call_of_its_network(tile):
    engine = engine_of(plan_passes(5, 2, True), 2, 0.5)
    for network in engine._networks:
        network.calls = 0
    engine(tile)
    assert [network.calls for network in engine._networks] == [3, 2]


def test_a_mirrored_pass_is_mirrored_back(tile):
    seen = engine_of([Pass(0, (0, 2))])(tile)[0]
    turned = engine_of([Pass(0)])(np.ascontiguousarray(tile[:, :, ::-1, :, ::-1]))[0]
    np.testing.assert_array_equal(seen, turned[::-1, :, ::-1])


# --- dropout -----------------------------------------------------------------------------------------------


def test_masks_drop_the_stated_share_of_channels_and_keep_the_mean():
    masks = np.stack([channel_mask(str(seed), 0.25, 64) for seed in range(100)])
    assert set(np.unique(masks)) == {0, np.float32(1 / 0.75)}
    assert abs((masks == 0).mean() - 0.25) < 0.02
    assert (channel_mask("0/0", 0.25, 64) == channel_mask("0/0", 0.25, 64)).all()


def test_dropout_layers_are_found_and_silent_without_a_seed():
    network = Finer(0.5).eval()
    tile = torch.rand(1, 1, 4, 4, 4)
    expected = network(tile)
    (layer,) = sample_dropout(network)
    assert isinstance(layer, SampledDropout) and torch.equal(network(tile), expected)
    layer.seed = "a"
    assert not torch.equal(network(tile), expected)


def test_batch_norm_is_not_folded_across_dropout():
    network = nn.Sequential(nn.Conv3d(1, 8, 1), nn.Dropout3d(0.5), nn.BatchNorm3d(8), nn.Conv3d(8, 2, 1))
    network[2].running_mean += 1
    made = contract(0.5)
    folded = prepare(network.eval(), made)
    assert any(isinstance(module, nn.BatchNorm3d) for module in folded.modules())


def test_dropout_that_contract_and_network_do_not_share_is_refused():
    with pytest.raises(ModelError, match=r"dropout 0\.5.*0 dropout layers"):
        prepare(Finer().eval(), contract(0.5))
    with pytest.raises(ModelError, match=r"dropout 0\.0.*1 dropout layers"):
        prepare(Finer(0.5).eval(), contract())


# --- tiles -------------------------------------------------------------------------------------------------


def assembled(predictor, raw, boxes):
    fine = tuple(n * f for n, f in zip(raw.shape, SCALE, strict=True))
    out = np.full((predictor.channels, *fine), np.nan, np.float32)

    def done(index, values):
        z, y, x = (slice(s.start * f, s.stop * f) for s, f in zip(boxes[index], SCALE, strict=True))
        out[:, z, y, x] = values

    predictor.stream(raw.__getitem__, raw.shape, boxes, done, lambda index, error: pytest.fail(str(error)))
    return out


@pytest.mark.parametrize("edge", [7, 8, 16])
def test_any_blocks_in_any_order_give_the_same_values(raw, edge):
    predictor = predictor_of(3, margin=2)
    expected = predictor.predict_box(raw.__getitem__, raw.shape, whole(raw.shape))
    boxes = cut(raw.shape, edge)
    np.testing.assert_array_equal(assembled(predictor, raw, boxes[::-1]), expected)
    assert expected[2].min() >= 0 and expected[2].mean() > 1, "test invalid"


def test_tiles_with_the_receptive_field_as_margin_equal_one_tile(raw):
    one = predictor_of(3, tile=32).predict_box(raw.__getitem__, raw.shape, whole(raw.shape))
    tiled = assembled(predictor_of(3), raw, cut(raw.shape, 16))
    np.testing.assert_allclose(tiled, one, rtol=1e-5, atol=1e-3)
    narrow = assembled(predictor_of(3, margin=0), raw, cut(raw.shape, 16))
    assert np.abs(narrow - one).max() > 1, "test invalid"


def excess_at_faces(values, core):
    """Mean step across the tiles' faces over that across other voxels' faces: the largest of the axes."""
    ratios = []
    for axis, (edge, fine) in enumerate(zip(core, SCALE, strict=True)):
        steps = np.abs(np.diff(values, axis=axis)).mean(axis=tuple(a for a in range(3) if a != axis))
        place = np.arange(1, steps.size + 1)
        # fine voxels have their own places in a coarse one: steps between coarse voxels are of one kind
        at_face, between = place % (edge * fine) == 0, place % fine == 0
        ratios.append(steps[at_face].mean() / steps[between & ~at_face].mean())
    return max(ratios)


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_steps_across_tile_faces_are_no_larger_than_inside(channel):
    noise = np.random.default_rng(3).normal(size=(48, 48, 48))
    raw = (400 + 800 * ndimage.gaussian_filter(noise, 3)).astype(np.float32)  # smooth, as seams are not
    found = {}
    for margin in (6, 0):
        values = predictor_of(2, margin).predict_box(raw.__getitem__, raw.shape, whole(raw.shape))
        found[margin] = excess_at_faces(values[channel], (8, 8, 8))
    assert found[6] < 1.1, found
    assert found[0] > 1.2, f"test invalid: {found}"


# --- memory ------------------------------------------------------------------------------------------------


def test_a_gpu_bounds_the_tile_whatever_the_budget():
    rule = TileRule((8, 8, 8), (8, 8, 8), 32)
    free = choose_tile(10**12, MemoryCost(0, 1.0), (256,) * 3, rule)
    bound = choose_tile(10**12, MemoryCost(0, 1.0, most=free.largest - 1), (256,) * 3, rule)
    assert bound.largest < free.largest
    with pytest.raises(InputError, match="--device cpu"):
        choose_tile(10**12, MemoryCost(0, 1.0, most=10), (256,) * 3, rule)


def test_mirror_images_that_no_pass_would_see_are_refused():
    with pytest.raises(InputError, match="--flips 8: 1 sample"):
        plan_passes(1, 1, dropout=False, flips=8)
    assert len({one.axes for one in plan_passes(8, 1, dropout=False, flips=8)}) == 8
    assert default_samples(contract(), flips=8) == 8
    assert default_samples(contract(members=2), flips=4) == 8


def test_only_dropout_of_channels_is_sampled():
    with pytest.raises(ModelError, match="Dropout cannot be sampled"):
        sample_dropout(nn.Sequential(nn.Conv3d(1, 2, 1), nn.Dropout(0.5)))
