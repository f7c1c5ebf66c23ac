"""Downloads from a server that breaks off, sends wrong bytes, stalls, or has changed its mind."""

import hashlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from connectomics.blockwise.progress import Silent
from connectomics.errors import BusyError, FormatError, InputError, RunFailed
from connectomics.pipeline.download import Patience, _alone, download

CONTENT = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HASTY = Patience(stall_seconds=1.5, attempts=2, pause_seconds=0.01)


class Server(ThreadingHTTPServer):
    """Serves `content` in the manner of `behave`, a list of one word a request; the last one stays."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.etag, self.behave, self.asked = CONTENT, '"one"', ["well"], []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/file.bin"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        server = self.server
        manner = server.behave.pop(0) if len(server.behave) > 1 else server.behave[0]
        server.asked.append(self.headers.get("Range"))
        if manner.isdigit():
            self.send_error(int(manner))
            return
        start = 0
        if self.headers.get("Range") and self.headers.get("If-Range") == server.etag:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if manner == "no ranges":
            start = 0
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header(
                "Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}"
            )
        if manner != "no etag":
            self.send_header("ETag", server.etag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if manner in ("breaks", "no etag"):
            body = body[: len(body) // 2]
        if manner in ("stalls", "silent"):
            self.wfile.write(body[: len(body) // 2 if manner == "stalls" else 0])
            self.wfile.flush()
            time.sleep(1)
            return
        self.wfile.write(body)


@pytest.fixture
def server():
    served = Server()
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


def fetch(server, target, sha256=SHA256):
    return download(server.url, target, sha256, Silent(), HASTY)


@pytest.mark.parametrize(
    "behave", [["well"], ["breaks", "breaks", "well"], ["stalls", "well"], ["503", "well"]]
)
@pytest.mark.parametrize("sha256", [SHA256, ""])
def test_the_file_comes_whole_in_the_end(server, tmp_path, behave, sha256):
    server.behave = list(behave)
    assert fetch(server, tmp_path / "a" / "file.bin", sha256) == SHA256
    assert (tmp_path / "a/file.bin").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["file.bin"]


def test_what_came_is_not_asked_for_again(server, tmp_path):
    server.behave = ["breaks", "well"]
    fetch(server, tmp_path / "file.bin")
    assert server.asked == [None, f"bytes={len(CONTENT) // 2}-"]


def test_another_process_goes_on_where_one_gave_up(server, tmp_path):
    server.behave = ["breaks", "404"]
    with pytest.raises(InputError, match="404"):
        fetch(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin.part").stat().st_size == len(CONTENT) // 2
    server.behave, server.asked = ["well"], []
    fetch(server, tmp_path / "file.bin")
    assert server.asked == [f"bytes={len(CONTENT) // 2}-"]


def test_a_file_that_changed_meanwhile_is_begun_anew(server, tmp_path):
    server.behave = ["breaks", "404"]
    with pytest.raises(InputError):
        fetch(server, tmp_path / "file.bin")
    server.content, server.etag, server.behave = CONTENT[::-1], '"two"', ["well"]
    assert fetch(server, tmp_path / "file.bin", "") == hashlib.sha256(CONTENT[::-1]).hexdigest()


@pytest.mark.parametrize("manner", ["no ranges", "no etag"])
def test_a_server_that_cannot_resume_is_asked_for_everything(server, tmp_path, manner):
    server.behave = [
        "no etag" if manner == "no etag" else "breaks",
        manner if manner == "no ranges" else "well",
    ]
    assert fetch(server, tmp_path / "file.bin") == SHA256


def test_wrong_bytes_are_removed(server, tmp_path):
    server.content = CONTENT[:-1] + b"x" if CONTENT[-1:] != b"x" else CONTENT[:-1] + b"y"
    with pytest.raises(FormatError, match=f"should be {SHA256}"):
        fetch(server, tmp_path / "file.bin")
    assert list(tmp_path.glob("file.bin*")) in ([], [tmp_path / "file.bin.part.json"])


def test_an_error_page_is_no_hdf5(server, tmp_path):
    server.content = b"<html>log in first</html>"
    with pytest.raises(FormatError, match="no HDF5"):
        fetch(server, tmp_path / "file.h5", "")
    assert not (tmp_path / "file.h5").exists()


@pytest.mark.parametrize("manner", ["silent", "503"])
def test_a_server_that_brings_nothing_is_given_up(server, tmp_path, manner):
    server.behave = [manner]
    with pytest.raises(RunFailed, match="gave up after 2 attempts"):
        fetch(server, tmp_path / "file.bin")
    assert len(server.asked) == 2


def test_no_server_at_all(server, tmp_path):
    with pytest.raises(RunFailed, match="refused"):
        download("http://127.0.0.1:1/x", tmp_path / "x", "", Silent(), HASTY)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/x", "no url"])
def test_only_the_web_is_fetched(tmp_path, url):
    with pytest.raises(InputError, match="only http"):
        download(url, tmp_path / "x", "", Silent())


def test_two_processes_do_not_write_one_file(server, tmp_path):
    with _alone(tmp_path / "file.bin.part"), pytest.raises(BusyError):
        fetch(server, tmp_path / "file.bin")
