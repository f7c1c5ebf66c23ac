"""Volumes behind a URL: read by range, written in place, and every mistake told in one line."""

import os
import pickle
import threading
import urllib.request
from collections import Counter

import numpy as np
import pytest

from connectomics.cli.main import run
from connectomics.errors import FormatError, InputError, OutputExistsError, RemoteError
from connectomics.io import place as place_module
from connectomics.io.ome_zarr import create_array, create_group, open_array
from connectomics.io.opening import open_volume
from connectomics.io.place import RemotePath, as_place, is_url, local_path, remove, subfolders
from connectomics.io.pyramid import build_pyramid
from connectomics.io.remote import RETRY_VARIABLE, connection
from connectomics.io.staging import appearing
from connectomics.io.tables import read_table, write_table
from tests.servers import FileServer, FlakyProxy, serving

SHARD, CHUNK = 128, 32
LAYOUT = {
    "shape": (64, 64, 64),
    "dtype": np.uint8,
    "chunks": (32, 32, 32),
    "voxel_size": (20.0, 10.0, 10.0),
    "offset": (200.0, 0.0, 50.0),
}
WHOLE = (slice(0, 64),) * 3
OWNER = {"Authorization": "AWS4-HMAC-SHA256 Credential=someone/20260101/us-east-1/s3/aws4_request"} | {
    "x-amz-acl": "public-read"
}


@pytest.fixture(scope="module")
def noise():
    """Voxels that do not compress, so that bytes can be counted."""
    return np.random.default_rng(0).integers(0, 256, (SHARD,) * 3, np.uint8)


@pytest.fixture(scope="module")
def sharded(noise, tmp_path_factory):
    """A folder with a volume of one shard of 64 chunks, in a name with a blank."""
    folder = tmp_path_factory.mktemp("files")
    layout = LAYOUT | {"shape": noise.shape, "shards": (SHARD,) * 3}
    create_array(folder / "my volume.zarr", "em", **layout).write_box((slice(0, SHARD),) * 3, noise)
    return folder


# --- what is a URL -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "url", "parts"),
    [
        ("s3://bucket/a/b.zarr/", "s3://bucket/a/b.zarr", ("s3://bucket", "a/b.zarr", "b.zarr")),
        ("S3://bucket", "s3://bucket", ("s3://bucket", "", "bucket")),
        ("https://host:80/a%20b/c", "https://host:80/a%20b/c", ("https://host:80", "a b/c", "c")),
    ],
)
def test_a_url_is_taken_apart(text, url, parts):
    place = as_place(text)
    assert isinstance(place, RemotePath) and str(place) == url
    assert (place.root, place.key, place.name) == parts


def test_places_below_and_beside():
    place = as_place("s3://bucket/a/b.zarr")
    assert str(place / "labels/x") == "s3://bucket/a/b.zarr/labels/x"
    assert str(place.parent) == "s3://bucket/a" and str(place.parent.parent.parent) == "s3://bucket"
    assert str(place.with_suffix(".skeletons")) == "s3://bucket/a/b.skeletons"


@pytest.mark.parametrize("text", ["a.zarr", "/data/a.zarr", "c:/x", "s3", "~/s3"])
def test_a_path_stays_a_path(text, tmp_path):
    assert as_place(text) == type(tmp_path)(text) and not is_url(text)


def test_a_folder_that_is_named_like_a_scheme_is_told_by_its_dot(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = as_place("./s3://x")
    assert found == tmp_path / "s3:/x" and as_place(found) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ftp://host/x", "not read"),
        ("file:///x", "not read"),
        ("s3:/bucket/x", "Write s3://"),
        ("https:/host/x", "Write https://"),
        ("s3://", "expected s3://"),
        ("s3://bucket//x", "expected s3://"),
        ("https://host/x?token=1", "expected https://"),
    ],
)
def test_what_is_neither_is_refused(text, said):
    with pytest.raises(InputError, match=said):
        as_place(text)


@pytest.mark.parametrize(
    "arguments",
    [
        "info VOLUME --json s3://bucket/report.json --quiet",
        "submit VOLUME s3://bucket/submission.zip",
        "score VOLUME --skeletons x.swc --errors s3://bucket/errors.csv",
        "demo --output s3://bucket/demo",
        "data fetch xpress --cache s3://bucket/cache",
    ],
)
def test_what_is_written_to_local_files_alone_takes_no_url(arguments, tmp_path, monkeypatch, capsys):
    create_array(tmp_path / "v.zarr", "em", **LAYOUT)
    monkeypatch.chdir(tmp_path)
    assert run([word.replace("VOLUME", "v.zarr/em") for word in arguments.split()]) == 2
    assert "not to a URL" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["v.zarr"]


def test_a_url_that_was_made_a_path_is_refused_and_not_written_to(tmp_path):
    squeezed = type(tmp_path)("s3://bucket/report.json")  # what pathlib makes of it
    for refused in (as_place, lambda path: local_path(path, "--json")):
        with pytest.raises(InputError, match="URL"):
            refused(squeezed)


# --- reading by HTTP ---------------------------------------------------------------------------------------


def test_a_shard_is_read_by_range_and_never_whole(sharded, noise):
    with serving(FileServer(sharded)) as server:
        volume = open_volume(f"{server.url}/my%20volume.zarr/em")
        assert (volume.voxel_size, volume.offset) == (LAYOUT["voxel_size"], LAYOUT["offset"])
        assert volume.shards == (SHARD,) * 3
        server.sent.clear()
        box = (slice(32, 64), slice(64, 96), slice(0, 32))
        np.testing.assert_array_equal(volume.read_box(box), noise[box])
        asked = list(server.sent)
    shard = next((sharded / "my volume.zarr").glob("em/0/c/*/*/*")).stat().st_size
    assert shard > noise.size, "test invalid: it compresses"
    assert asked and all(wanted is not None for _, wanted, _ in asked)
    assert CHUNK**3 <= sum(count for _, _, count in asked) < 2 * CHUNK**3 < shard / 20


def test_the_group_an_array_lies_in_places_it(sharded):
    with serving(FileServer(sharded)) as server:
        assert open_volume(f"{server.url}/my%20volume.zarr/em/0").voxel_size == LAYOUT["voxel_size"]


def test_a_web_server_cannot_be_listed_or_written(sharded):
    with serving(FileServer(sharded)) as server:
        with pytest.raises(InputError, match="cannot list"):
            open_volume(f"{server.url}/my%20volume.zarr")
        with pytest.raises(InputError, match="no such zarr"):
            open_volume(f"{server.url}/other.zarr")
        with pytest.raises(InputError, match="read only"):
            as_place(f"{server.url}/x").write_bytes(b"")


def test_a_server_without_ranges_is_named(sharded):
    with serving(FileServer(sharded, ranges=False)) as server:
        volume = open_volume(f"{server.url}/my%20volume.zarr/em")
        with pytest.raises(InputError, match="does not serve parts of files"):
            volume.read_box((slice(0, 32),) * 3)


# --- a bucket ----------------------------------------------------------------------------------------------


def test_an_image_in_a_bucket_is_that_on_disk(bucket, tmp_path):
    data = np.random.default_rng(1).integers(0, 9, (64, 64, 64), np.uint8)
    for out in (f"{bucket}/deep/out.zarr", tmp_path / "out.zarr"):
        create_array(out, "labels/truth", **LAYOUT, kind="label").write_box(WHOLE, data)
        assert build_pyramid(out, "labels/truth", 3) == 3
        write_table(out, "region_graph/edges", np.arange(6).reshape(3, 2))
    keys = set(as_place(f"{bucket}/deep/out.zarr").keys())
    assert as_place(bucket).subfolders() == [as_place(f"{bucket}/deep")]
    assert len(as_place(bucket).keys()) == len(keys), "something was written outside"
    assert keys == {
        p.relative_to(tmp_path / "out.zarr").as_posix() for p in tmp_path.rglob("*") if p.is_file()
    }
    for level in range(3):
        there, here = (
            open_volume(f"{root}/out.zarr/labels/truth", level=level) for root in (f"{bucket}/deep", tmp_path)
        )
        np.testing.assert_array_equal(there.read(), here.read())
        assert (there.voxel_size, there.offset) == (here.voxel_size, here.offset)
    np.testing.assert_array_equal(read_table(f"{bucket}/deep/out.zarr", "region_graph/edges")[2], [4, 5])
    assert build_pyramid(f"{bucket}/deep/out.zarr", "labels/truth", 2) == 2
    assert [p.name for p in subfolders(as_place(f"{bucket}/deep/out.zarr/labels/truth"))] == ["0", "1"]


def test_what_is_taken_is_refused_and_an_upload_that_broke_off_is_not(bucket):
    out = as_place(f"{bucket}/out.zarr")
    create_array(out, "em", **LAYOUT)
    before = {key: (out / key).read_bytes() for key in out.keys()}  # noqa: SIM118
    with pytest.raises(OutputExistsError, match="exists already"):
        create_array(out, "em", **LAYOUT | {"shape": (8, 8, 8)})
    assert {key: (out / key).read_bytes() for key in out.keys()} == before  # noqa: SIM118
    (out / "em/zarr.json").remove()
    create_array(out, "em", **LAYOUT)
    assert open_array(out, "em").shape == (64, 64, 64)


def test_a_group_appears_with_its_metadata_last(bucket, proxy):
    with pytest.raises(ValueError, match="odd"), appearing(f"{bucket}/y") as staged:
        staged.mkdir()
        (staged / "zarr.json").write_text("{}")
        raise ValueError("odd")
    assert not as_place(f"{bucket}/y").exists()
    requests_before = len(proxy.requests)
    create_array(f"{bucket}/out.zarr", "em", **LAYOUT)
    written = [request for request in proxy.requests[requests_before:] if request.startswith("PUT")]
    assert [request.split("out.zarr/")[1] for request in written] == [
        "zarr.json",
        "em/0/zarr.json",
        "em/zarr.json",
    ]


def test_a_place_in_a_bucket_is_like_a_folder(bucket, tmp_path):
    for root in (as_place(f"{bucket}/folder"), tmp_path / "folder"):
        names = ["a.json", "b/c.json", "b/d/e.npz", "bb/f.json"]
        for name in names:
            if not isinstance(root, RemotePath):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(name.encode())
        assert sorted(path.name for path in root.iterdir()) == ["a.json", "b", "bb"]
        assert [path.name for path in subfolders(root)] == ["b", "bb"]
        assert sorted(path.name for path in root.glob("*/*.json")) == ["c.json", "f.json"]
        assert (root / "b").is_dir() and not (root / "b").is_file() and (root / "b").exists()
        assert (root / "a.json").is_file() and not (root / "a.json").is_dir()
        remove(root / "b")
        remove(root / "a.json")
        remove(root / "never")
        assert [path.name for path in root.iterdir()] == ["bb"]
        assert not (root / "b").exists()
        with pytest.raises(FileNotFoundError):
            (root / "a.json").read_bytes()


def test_more_objects_than_one_list_holds(bucket, proxy, monkeypatch):
    monkeypatch.setattr(place_module, "PAGE", 3)
    folder = as_place(f"{bucket}/many")
    names = [f"{number:02d}" for number in range(10)]
    for name in names:
        (folder / name).write_bytes(b"x")
    assert folder.keys() == names
    folder.remove()
    assert not folder.exists()
    assert sum("?delete" in request for request in proxy.requests) == 4


def test_a_volume_is_sent_to_workers_as_its_address(bucket):
    volume = create_array(f"{bucket}/out.zarr", "em", **LAYOUT)
    sent = pickle.dumps(volume)
    assert b"secret" not in sent and b"someone" not in sent
    pickle.loads(sent).write_box(WHOLE, np.full((64, 64, 64), 7, np.uint8))
    assert volume.read().min() == 7


def test_a_corrupt_chunk_is_told_from_a_store_that_fails(bucket):
    volume = create_array(f"{bucket}/out.zarr", "em", **LAYOUT)
    volume.write_box(WHOLE, np.random.default_rng(0).integers(0, 256, (64, 64, 64), np.uint8))
    chunk = as_place(f"{bucket}/out.zarr/em/0/c/0/0/0")
    chunk.write_bytes(chunk.read_bytes()[:-100])
    with pytest.raises(FormatError, match="corrupt"):
        volume.read()


# --- what goes wrong ---------------------------------------------------------------------------------------


@pytest.fixture
def proxy(bucket, s3_address, monkeypatch):
    """A proxy before the bucket, which spoils nothing until it is told to."""
    with serving(FlakyProxy(s3_address)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        yield server


OPERATIONS = {
    "write": lambda place: (place / "new").write_bytes(b"x" * 100),
    "create": lambda place: (place / "made").write_bytes(b"x", "create", _exists()),
    "read": lambda place: (place / "old").read_bytes(),
    "head": lambda place: (place / "old").is_file(),
    "list": lambda place: place.keys(),
    "level": lambda place: list(place.iterdir()),
    "delete": lambda place: (place / "gone").remove(),
    "large": lambda place: (place / "large").write_bytes(bytes(6_000_000)),
    "array": lambda place: open_array(place, "em").read(),
    "chunk": lambda place: open_array(place, "em").write_box(WHOLE, np.ones((64, 64, 64), np.uint8)),
    "table": lambda place: write_table(place, "lut", np.arange(9)),
}


def _exists():
    from obstore.exceptions import AlreadyExistsError

    return AlreadyExistsError


@pytest.mark.parametrize("kind", ["503", "reset", "lost", "cut", "stall"])
@pytest.mark.parametrize("name", list(OPERATIONS))
def test_each_kind_of_request_outlives_each_kind_of_failure(proxy, bucket, monkeypatch, kind, name):
    monkeypatch.setenv(RETRY_VARIABLE, "20" if kind != "stall" else "4")
    place = as_place(f"{bucket}/x")
    create_array(place, "em", **LAYOUT)
    write_table(place, "lut", np.arange(9))
    (place / "old").write_bytes(b"x" * 100)
    (place / "gone").write_bytes(b"x")
    if kind == "stall":
        monkeypatch.setattr(connection(place.root), "answered", True)
    proxy.kinds, proxy.fate = (kind,), _only(proxy, kind)
    try:
        OPERATIONS[name](place)
    except _exists():
        assert (kind, name) in {("lost", "create"), ("cut", "create")}, "it was made, and the answer lost"
    assert proxy.spoilt == Counter({kind: 1})


def _only(proxy, kind):
    """Spoil the next request and no other."""
    left = threading.Semaphore(1)

    def fate(request):
        if not left.acquire(blocking=False):
            return None
        proxy.spoilt[kind] += 1
        return kind

    return fate


@pytest.mark.parametrize(
    ("kind", "error", "said"),
    [
        ("503", RemoteError, "503 Service Unavailable"),
        ("403", InputError, "access was denied"),
        ("reset", InputError, "no answer"),
    ],
)
def test_a_store_that_always_fails_is_given_up_soon(proxy, bucket, monkeypatch, kind, error, said):
    monkeypatch.setenv(RETRY_VARIABLE, "1")
    proxy.share, proxy.kinds = 1.0, (kind,)
    for use in (open_volume, create_group, lambda url: as_place(url).read_bytes()):
        with pytest.raises(error, match=said) as caught:
            use(f"{bucket}/x.zarr")
        assert len(str(caught.value).splitlines()) == 1
    assert proxy.spoilt[kind] >= 3


def test_a_store_that_fails_later_is_not_bad_input(proxy, bucket, monkeypatch):
    monkeypatch.setenv(RETRY_VARIABLE, "1")
    volume = create_array(f"{bucket}/x.zarr", "em", **LAYOUT)
    proxy.share, proxy.kinds = 1.0, ("reset",)
    for use in (volume.read, lambda: volume.write_box(WHOLE, np.ones((64, 64, 64), np.uint8))):
        with pytest.raises(RemoteError, match="again"):
            use()


def test_a_bucket_that_is_not_there_is_named(bucket):
    for use in (open_volume, create_group, lambda url: as_place(url).write_bytes(b"")):
        with pytest.raises(InputError, match="s3://nowhere: no such bucket"):
            use("s3://nowhere/x.zarr")


def test_a_network_that_is_not_there_is_named(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv(RETRY_VARIABLE, "1")
    with pytest.raises(InputError, match=f"{bucket}: no answer.*AWS_ENDPOINT_URL and the network"):
        open_volume(f"{bucket}/x.zarr")


def test_no_credentials_are_named_and_a_public_bucket_needs_none(bucket, monkeypatch, tmp_path):
    create_array(f"{bucket}/x.zarr", "", **LAYOUT)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(InputError, match=r"no credentials were found.*AWS_SKIP_SIGNATURE"):
        open_volume(f"{bucket}/x.zarr")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    with pytest.raises(InputError, match="access was denied"):
        open_volume(f"{bucket}/x.zarr")
    for key in as_place(f"{bucket}/x.zarr").keys():  # noqa: SIM118
        url = f"{os.environ['AWS_ENDPOINT_URL']}/{bucket[5:]}/x.zarr/{key}?acl"
        request = urllib.request.Request(url, method="PUT", headers=OWNER)
        urllib.request.urlopen(request).close()
    assert open_volume(f"{bucket}/x.zarr").shape == (64, 64, 64)


def test_a_profile_gives_credentials(bucket, proxy, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    (tmp_path / "credentials").write_text(
        "[lab]\naws_access_key_id = from-the-profile\naws_secret_access_key = s\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    as_place(f"{bucket}/x").write_bytes(b"x")
    assert as_place(f"{bucket}/x").read_bytes() == b"x"
    monkeypatch.setenv("AWS_PROFILE", "other")
    with pytest.raises(InputError, match=r"no credentials were found.*other"):
        as_place(f"{bucket}/x").read_bytes()


def test_a_missing_package_is_named(bucket, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    monkeypatch.setenv("AWS_REGION", "nowhere-1")  # another connection than those made before
    with pytest.raises(InputError, match=r"pip install 'xray-connectomics\[remote\]'"):
        open_volume(f"{bucket}/x.zarr")


@pytest.mark.parametrize("seconds", ["soon", "-1", "nan"])
def test_the_time_to_try_is_a_number(bucket, monkeypatch, seconds):
    monkeypatch.setenv(RETRY_VARIABLE, seconds)
    with pytest.raises(InputError, match="expected a number of seconds"):
        open_volume(f"{bucket}/x.zarr")
