"""The sample is the demo's phantom, made once."""

import numpy as np

from connectomics.io.opening import open_volume
from connectomics.phantom.phantom import Phantom
from connectomics.phantom.settings import PhantomSettings
from napari_connectomics import samples


def test_the_sample_is_a_corner_of_the_demos_phantom(tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "sample_folder", lambda: tmp_path)
    monkeypatch.setattr(samples, "SHAPE", (8, 16, 16))
    layers = samples.phantom()
    assert [said["name"] for _, said, _ in layers][:2] == ["X-ray", "truth"]
    truth = open_volume(tmp_path / "phantom.zarr" / "labels" / "truth").read()
    box = tuple(slice(0, n) for n in (8, 16, 16))
    np.testing.assert_array_equal(truth, Phantom(PhantomSettings(seed=2000)).labels(box))
