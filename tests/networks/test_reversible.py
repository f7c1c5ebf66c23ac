"""Reversible levels give the gradients of stored activations, store nothing, and see no tile and no batch."""

import io
import warnings

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.parallel import DistributedDataParallel

from connectomics.errors import ModelError
from connectomics.networks import reversible
from connectomics.networks.bottleneck import BlockShape, VoxelNorm, make_function
from connectomics.networks.build import build_network, divisor_of
from connectomics.networks.contract import NetworkSettings
from connectomics.networks.reversible import Coupling, ReversibleSequence

TWIN = {"reversible": False, "checkpoint": False}
CHECKPOINTED = {"reversible": False, "checkpoint": True}


def build(dtype=torch.float32, dropout=0.3, **parameters):
    torch.manual_seed(0)
    settings = NetworkSettings(
        name="ReversibleUNet", parameters={"filters": [8, 16], "blocks": 3, **parameters}, dropout=dropout
    )
    return build_network(settings, 1, 2).to(dtype)


def image(edge=8, dtype=torch.float32, n=2):
    torch.manual_seed(1)
    return torch.randn(n, 1, edge, edge, edge, dtype=dtype)


def gradients(network, tile, call=None, mixed=False, inside=False):
    """Of the input and of every parameter, in one vector, with the dropout of seed 2."""
    tile = tile.clone().requires_grad_()
    network.zero_grad()
    torch.manual_seed(2)
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        loss = ((network if call is None else call)(tile).float() ** 2).mean()
        if inside:
            loss.backward()
    if not inside:
        loss.backward()
    return torch.cat([tile.grad.flatten(), *(p.grad.flatten() for p in network.parameters())])


def relative(got, expected):
    return float((got - expected).norm() / expected.norm())


@pytest.mark.parametrize("block", [{"block": "inverted", "expansion": 2}, {"block": "plain"}])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-8)])
@pytest.mark.parametrize("parameters", [{}, {"checkpoint": False}, CHECKPOINTED])
def test_gradients_are_those_of_stored_activations(block, dtype, tolerance, parameters):
    tile = image(dtype=dtype)
    expected = gradients(build(dtype, **block, **TWIN), tile)
    assert relative(gradients(build(dtype, **block, **parameters), tile), expected) <= tolerance
    without = gradients(build(dtype, dropout=0.0, **block), tile)
    assert relative(without, expected) > 0.05, "test invalid: dropout dropped nothing"


def test_the_same_channels_are_dropped_again(monkeypatch):
    tile = image()
    expected = gradients(build(**TWIN), tile)
    monkeypatch.setattr(reversible._RandomState, "replayed", lambda self: torch.enable_grad())
    assert relative(gradients(build(), tile), expected) > 0.01


def test_generators_go_on_as_if_nothing_had_been_drawn_again():
    after = []
    for parameters in ({}, TWIN):
        gradients(build(**parameters), image())
        after.append(torch.rand(3))
    assert torch.equal(*after)


@pytest.mark.parametrize(
    "inside", [False, True], ids=["backward outside autocast", "backward inside autocast"]
)
def test_gradients_in_mixed_precision(inside):
    """The halves stay float32, so only what a function computes is rounded to bfloat16, twice alike."""
    tile = image()
    for dropout in (0.3, 0.0):
        expected = gradients(build(dropout=dropout, **TWIN), tile, mixed=True, inside=inside)
        got = gradients(build(dropout=dropout), tile, mixed=True, inside=inside)
        assert relative(got, expected) <= 1e-3
    assert 1e-3 < relative(gradients(build(dropout=0.0, **TWIN), tile), expected) < 0.2, (
        "test invalid: not mixed"
    )


def test_gradients_accumulate_and_a_kept_graph_can_be_walked_again():
    network, tile = build(dropout=0.0), image()
    once = gradients(network, tile)
    network.zero_grad()
    loss = (network(tile) ** 2).mean()
    loss.backward(retain_graph=True)
    loss.backward()
    twice = torch.cat([p.grad.flatten() for p in network.parameters()])
    torch.testing.assert_close(twice, 2 * once[tile.numel() :], rtol=1e-4, atol=1e-7)


def test_frozen_weights_get_no_gradient_and_the_others_theirs():
    found = []
    for parameters in ({}, TWIN):
        network = build(**parameters)
        frozen = network.down[0].couplings[1].first
        frozen.requires_grad_(False)
        torch.manual_seed(2)
        (network(image()) ** 2).mean().backward()
        assert all(p.grad is None for p in frozen.parameters())
        found.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.requires_grad]))
    assert relative(*found) < 1e-5


def test_the_twin_has_the_same_weights_and_says_the_same():
    network, twin = build(), build(**TWIN)
    assert list(network.state_dict()) == list(twin.state_dict())
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    network.load_state_dict(twin.state_dict())
    tile = image()
    with torch.no_grad():
        assert torch.equal(network.eval()(tile), twin.eval()(tile))


def sequence(blocks, channels=8, **how):
    torch.manual_seed(0)
    shape = BlockShape(gain=blocks**-0.5)
    couplings = [
        Coupling(make_function(channels, shape), make_function(channels, shape)) for _ in range(blocks)
    ]
    return ReversibleSequence(couplings, **{"reversible": True, "checkpointed": False, **how})


def test_thirty_two_blocks_are_undone():
    torch.manual_seed(1)
    blocks, halves = sequence(32), torch.randn(2, 1, 8, 12, 12, 12)
    with torch.no_grad():
        after = torch.stack(blocks.eval()(*halves))
    assert relative(after, halves) > 0.5, "test invalid: the blocks add nothing"
    assert relative(torch.stack(blocks.inverse(*after)), halves) < 1e-5


def stored_bytes(network, tile):
    """Bytes that the graph holds between forward and backward, weights apart."""
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    held = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = network(tile)
    assert kept.requires_grad
    return sum(held.values())


def test_what_is_stored_is_flat_in_depth():
    tile = image(16, n=1)
    flat = [stored_bytes(build(dropout=0.0, blocks=n), tile) for n in (1, 6)]
    assert flat[0] == flat[1]
    stored = [stored_bytes(build(dropout=0.0, blocks=n, **TWIN), tile) for n in (1, 6)]
    inputs = [stored_bytes(build(dropout=0.0, blocks=n, **CHECKPOINTED), tile) for n in (1, 6)]
    assert stored[1] > 3 * stored[0] and inputs[1] > 1.5 * inputs[0]
    assert flat[0] < 0.35 * stored[0]
    assert stored_bytes(build(dropout=0.0, checkpoint=False), tile) > flat[0]


def reach_of(norm, parameters):
    """Largest change of a middle voxel when the tile around it is cut smaller."""
    network = build(dropout=0.0, blocks=1, **parameters).eval()
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, VoxelNorm) and norm is not None:
                setattr(module, name, norm(len(child.weight)))
    whole = image(48, n=1)
    with torch.no_grad():
        large, small = network(whole), network(whole[..., 8:40, 8:40, 8:40])
    return float((large[..., 22:26, 22:26, 22:26] - small[..., 14:18, 14:18, 14:18]).abs().max())


def test_a_voxel_knows_nothing_of_its_tile_beyond_its_reach():
    assert reach_of(None, {}) < 1e-5
    assert reach_of(nn.InstanceNorm3d, {}) > 1e-3, "test invalid"


def test_an_image_knows_nothing_of_its_batch():
    network, batch = build(dropout=0.0), image()
    with torch.no_grad():
        torch.testing.assert_close(network(batch)[:1], network(batch[:1]))


def test_voxel_norm_standardises_each_voxel():
    features = 5 + 3 * torch.randn(2, 16, 3, 4, 5)
    got = VoxelNorm(16)(features)
    torch.testing.assert_close(got.mean(1), torch.zeros(2, 3, 4, 5), atol=1e-5, rtol=0)
    torch.testing.assert_close(got.std(1, correction=0), torch.ones(2, 3, 4, 5), atol=2e-3, rtol=0)


def test_strides_may_differ_along_axes():
    settings = NetworkSettings(
        name="ReversibleUNet", parameters={"filters": [4, 8, 8], "strides": [1, [1, 2, 2], 2]}
    )
    assert divisor_of(settings) == (2, 4, 4)
    assert build_network(settings, 1, 3)(torch.zeros(1, 1, 2, 8, 4)).shape == (1, 3, 2, 8, 4)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"filters": [5, 8]}, "even"),
        ({"block": "other"}, "inverted"),
        ({"blocks": [1, 2, 3]}, "2 levels"),
        ({"blocks": 0}, "one or more"),
        ({"group_width": 3}, "does not divide"),
        ({"strides": [2, 2]}, "first stride"),
        ({"strides": [1]}, "1 strides for 2"),
        ({"width": 3}, "width"),
    ],
)
def test_parameters_that_do_not_fit_are_named(parameters, message):
    with pytest.raises(ModelError, match=message):
        build(**parameters)


def test_distributed_training_sees_every_gradient(tmp_path):
    """The reducer of one process: it raises where a parameter's hook did not run."""
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1
    )
    try:
        network, tile = build(dropout=0.0), image()
        together = DistributedDataParallel(network)
        first = gradients(network, tile, together)
        second = gradients(network, tile, together)  # refuses to start where the first was not reduced
    finally:
        torch.distributed.destroy_process_group()
    expected = gradients(build(dropout=0.0, **TWIN), tile)
    assert relative(first, expected) < 1e-5 and torch.equal(first, second)


@pytest.mark.filterwarnings("ignore")
def test_compiled_it_learns_the_same():
    network, tile = build(dropout=0.0, blocks=1), image()
    expected = gradients(build(dropout=0.0, blocks=1, **TWIN), tile)
    compiled = torch.compile(network, backend="eager")
    assert relative(gradients(network, tile, compiled), expected) < 1e-5
    with torch.no_grad():
        whole = torch.compile(network.eval(), backend="eager", fullgraph=True)
        torch.testing.assert_close(whole(tile), network(tile))
    torch.compiler.reset()


def test_it_is_exported_to_onnx_and_read_by_openvino():
    import openvino

    network, written = build().eval(), io.BytesIO()
    axes = {"image": {2: "z", 3: "y", 4: "x"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter without further packages is deprecated
        torch.onnx.export(
            network, (image(n=1),), written, dynamo=False, input_names=["image"], dynamic_axes=axes
        )
    model = openvino.Core().read_model(io.BytesIO(written.getvalue()))
    run = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    tile = image(16, n=1)
    with torch.no_grad():
        torch.testing.assert_close(
            torch.from_numpy(run([tile.numpy()])[0]), network(tile), atol=1e-5, rtol=1e-4
        )


def test_openvino_runs_it_as_prediction_does():
    from connectomics.inference.openvino_engine import OpenVinoEngine
    from connectomics.inference.torch_engine import TorchEngine

    network, tile = build().eval(), image(16, n=1).numpy()
    exact = TorchEngine(network, 2)(tile).astype(int)
    assert exact.std() > 5, "test invalid"
    assert abs(OpenVinoEngine(network, 2, 1, (8, 8, 8), 1)(tile).astype(int) - exact).max() <= 1
