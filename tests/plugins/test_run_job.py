"""A command in a process of its own: watched to its end, cancelled, and its error told."""

from connectomics.roi import Roi
from napari_connectomics.run_job import Job, Request

QUICK = {"every": 0.05}


def test_the_words_of_a_request():
    region = Roi((1000.0, 0.5, -500.0), (640.0, 320.0, 320.0))
    request = Request("segment", "a.h5/raw", "out.zarr", "toy", region, ("--threshold", "0.4"))
    assert request.words == [
        *["segment", "a.h5/raw", "out.zarr", "--model", "toy"],
        *["--roi-offset", "1000", "0.5", "-500", "--roi-size", "640", "320", "320"],
        *["--threshold", "0.4"],
    ]


def test_a_run_is_watched_to_its_end(volume, tmp_path):
    out = tmp_path / "out.zarr"
    job = Job(["convert", volume, str(out), "--chunk", "32"], str(out))
    job.start()
    updates = list(job.watch(**QUICK))
    last = updates[-1]
    assert not last.running and last.code == 0 and all(update.running for update in updates[:-1])
    assert [(step.name, step.done, step.total) for step in last.steps] == [("copy", 1, 1)]
    assert [layer.location for layer in last.layers] == [str(out)] and not job.running


def test_what_went_wrong_is_told(tmp_path):
    job = Job(
        ["convert", str(tmp_path / "nothing.h5"), str(tmp_path / "out.zarr")], str(tmp_path / "out.zarr")
    )
    job.start()
    last = list(job.watch(**QUICK))[-1]
    assert last.code == 2 and "no such path" in last.message and last.layers == ()


def test_a_run_that_is_cancelled_ends_soon(volume, tmp_path):
    out = tmp_path / "out.zarr"
    job = Job(["convert", volume, str(out)], str(out))
    job.start()
    job.cancel()
    last = list(job.watch(**QUICK))[-1]
    assert last.code == 130 and not job.running


def test_a_run_that_is_ended_with_its_window(volume, tmp_path):
    job = Job(["convert", volume, str(tmp_path / "out.zarr")], str(tmp_path / "out.zarr"))
    job.start()
    job.kill()
    assert not job.running


def test_a_region_far_from_the_origin_is_sent_to_the_nanometre():
    region = Roi((0.0, 1_234_563.0, 12_345_672.0), (33.0, 3_300_033.0, 8.25))
    words = Request("segment", "a.h5/raw", "out.zarr", "toy", region).words
    at, size = words.index("--roi-offset"), words.index("--roi-size")
    assert tuple(float(word) for word in words[at + 1 : at + 4]) == region.offset
    assert tuple(float(word) for word in words[size + 1 : size + 4]) == region.size
