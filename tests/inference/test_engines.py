"""The engines agree, folding changes nothing, and the choice says why."""

import numpy as np
import pytest
import torch
from torch import nn

from connectomics.errors import InputError
from connectomics.inference import choice, openvino_engine
from connectomics.inference.fold import fold_batch_norm
from connectomics.inference.footprint import tensor_bytes_per_voxel
from connectomics.inference.settings import InferenceSettings


def batch_norms(network):
    return sum(isinstance(m, nn.BatchNorm3d) for m in network.modules())


def test_folding_keeps_the_values(network):
    folded = fold_batch_norm(network, 1, (8, 8, 8))
    assert (batch_norms(network), batch_norms(folded)) == (2, 0)
    tile = torch.rand(1, 1, 8, 8, 8)
    with torch.inference_mode():
        assert torch.allclose(network(tile), folded(tile), atol=1e-5)


def test_a_norm_whose_convolution_is_used_elsewhere_stays():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv3d(1, 2, 1), nn.BatchNorm3d(2)
            self.norm.running_mean += 3

        def forward(self, tile):
            features = self.conv(tile)
            return features + self.norm(features)

    assert batch_norms(fold_batch_norm(Shared().eval(), 1, (4, 4, 4))) == 1


def quantised(network, **settings):
    tile = np.random.default_rng(0).normal(size=(1, 1, 16, 12, 8)).astype(np.float32)
    asked = InferenceSettings(device="cpu", threads=1, **settings)
    return choice.make_engine(network, 1, 3, (2, 2, 2), asked)[0](tile).astype(int)


def test_openvino_and_torch_agree(network):
    values = [quantised(network, engine=engine, precision="f32") for engine in ("torch", "openvino")]
    assert np.abs(values[0] - values[1]).max() <= 1
    assert values[0].std() > 5, "test invalid"


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_what_a_call_gave_stays_when_another_is_made(network, engine):
    asked = InferenceSettings(device="cpu", threads=1, engine=engine)
    made = choice.make_engine(network, 1, 3, (2, 2, 2), asked)[0]
    one, other = np.random.default_rng(0).normal(size=(2, 1, 1, 16, 12, 8)).astype(np.float32)
    first = made(one)
    kept = first.copy()
    second = made(other)
    np.testing.assert_array_equal(first, kept)
    assert not np.shares_memory(first, second) and (first != second).any()


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_bfloat16_changes_little(network, engine):
    exact, short = (quantised(network, engine=engine, precision=p) for p in ("f32", "bf16"))
    assert np.abs(exact - short).max() <= 8 and np.abs(exact - short).mean() <= 1


def test_auto_takes_bfloat16_where_the_processor_has_it(monkeypatch):
    for has, precision in ((True, "bf16"), (False, "f32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has=has: {"avx512_bf16": has})
        assert choice.choose(InferenceSettings(device="cpu")).precision == precision
        assert choice.choose(InferenceSettings(device="cpu", precision="f32")).precision == "f32"


def test_footprint_counts_live_tensors():
    # two channels out, 8 bytes; the input tile belongs to the caller, who counts it
    assert tensor_bytes_per_voxel(nn.Conv3d(1, 2, 1, bias=False), 1, (16, 16, 16)) == pytest.approx(
        8, abs=0.1
    )


def test_auto_without_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    got = choice.choose(InferenceSettings())
    assert (got.device, got.engine) == ("cpu", "openvino")
    assert "no usable CUDA" in got.reason
    monkeypatch.setattr(choice, "openvino_installed", lambda: False)
    assert choice.choose(InferenceSettings()).engine == "torch"
    with pytest.raises(InputError, match="pip install openvino"):
        choice.choose(InferenceSettings(engine="openvino"))
    with pytest.raises(InputError, match="--device cpu"):
        choice.choose(InferenceSettings(device="cuda"))


def test_auto_with_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    assert choice.choose(InferenceSettings()).device == "cuda"
    assert choice.choose(InferenceSettings(device="cpu")).engine == "openvino"
    with pytest.raises(InputError, match="CPU only"):
        choice.choose(InferenceSettings(device="cuda", engine="openvino"))


def test_openvino_missing_is_said(monkeypatch, network):
    monkeypatch.setattr(openvino_engine, "openvino_installed", lambda: False)
    with pytest.raises(InputError, match="--engine torch"):
        openvino_engine.OpenVinoEngine(network, 3, 1, (8, 8, 8))
