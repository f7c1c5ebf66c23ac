"""Public data sets: the list is sound, hashes are recorded and held to, volumes become OME-Zarr."""

import hashlib
import io
import json

import h5py
import numpy as np
import pytest

from connectomics.blockwise.progress import Silent
from connectomics.errors import FormatError, InputError
from connectomics.io.opening import open_volume
from connectomics.pipeline import fetch
from connectomics.pipeline.fetch import DataSource, SourceFile, convert_fetched, fetch_data, list_sources
from connectomics.pipeline.settings import RunSettings
from tests.pipeline.test_download import HASTY, server  # noqa: F401


def hdf5():
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        data = file.create_dataset("volumes/raw", data=np.arange(1000, dtype=np.uint16).reshape(10, 10, 10))
        data.attrs["resolution"], data.attrs["offset"] = (33, 33, 33), (330, 0, 0)
    return stream.getvalue()


@pytest.fixture
def known(server, monkeypatch):  # noqa: F811
    server.content = hdf5()
    files = (
        SourceFile(name="raw.h5", url=server.url, holds="image"),
        SourceFile(name="skeletons.npz", url=server.url, holds="skeletons"),
    )
    source = DataSource(
        title="t",
        modality="xray",
        voxel_size=(33, 33, 33),
        licence="l",
        citation="c",
        homepage="h",
        files=files,
    )
    monkeypatch.setattr(fetch, "list_sources", lambda: {"drawn": source})
    return server


def bring(tmp_path, *names):
    return fetch_data("drawn", names, tmp_path, Silent(), HASTY)


def test_the_list_that_is_shipped():
    sources = list_sources()
    names = [file.name for file in sources["xpress"].files]
    assert {"xpress-test-raw.h5", "XPRESS_validation_skels.npz", "baseline_seg_validation.h5"} <= set(names)
    assert len(set(names)) == len(names) == 11
    assert all(file.url.startswith("https://") for one in sources.values() for file in one.files)


def test_a_hash_is_recorded_once_and_holds(known, tmp_path):
    (path,) = bring(tmp_path, "raw.h5")
    assert path.read_bytes() == known.content
    recorded = json.loads((tmp_path / "drawn/sha256.json").read_text())
    assert recorded == {"raw.h5": hashlib.sha256(known.content).hexdigest()}
    bring(tmp_path, "raw.h5")
    assert len(known.asked) == 1  # it is there: nothing is fetched
    path.write_bytes(b"spoilt")
    with pytest.raises(FormatError, match="damaged or replaced"):
        bring(tmp_path, "raw.h5")
    path.unlink()
    known.content = known.content + b" "
    with pytest.raises(FormatError, match="wrong bytes"):
        bring(tmp_path, "raw.h5")
    assert not path.exists()


def test_all_files_and_their_conversion(known, tmp_path):
    paths = bring(tmp_path)
    assert [path.name for path in paths] == ["raw.h5", "skeletons.npz"]
    for _ in range(2):  # run again, it finds its own work
        converted = convert_fetched("drawn", paths, tmp_path / "zarr", RunSettings(), Silent())
        assert list(converted) == ["raw.h5"]
    volume = open_volume(converted["raw.h5"])
    assert volume.voxel_size == (33, 33, 33) and volume.offset == (330, 0, 0)
    assert (volume.read().ravel() == np.arange(1000)).all()


@pytest.mark.parametrize(
    ("source", "names", "why"),
    [("drwan", (), "Did you mean 'drawn'"), ("drawn", ("raw.h4",), "Did you mean 'raw.h5'")],
)
def test_names_that_are_not_there(known, tmp_path, source, names, why):
    with pytest.raises(InputError, match=why):
        fetch_data(source, names, tmp_path, Silent(), HASTY)
    with pytest.raises(InputError, match="no file to fetch"):
        fetch_data("fib25", (), tmp_path, Silent(), HASTY, sources=list_sources())


def test_a_name_is_no_path():
    with pytest.raises(Exception, match="name"):
        SourceFile(name="../x", url="https://example.org", holds="image")
