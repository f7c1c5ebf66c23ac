"""Servers for the tests of remote volumes: files by HTTP with ranges, and a proxy that fails now and then."""

import http.client
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


@contextmanager
def serving(server):
    """Run a server in a thread for the time of a block."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Quiet(ThreadingHTTPServer):
    """A server on a free port of this machine that says nothing."""

    daemon_threads = True

    def __init__(self, handler):
        super().__init__(("127.0.0.1", 0), handler)

    def handle_error(self, request, client_address):
        """A client that went away is no matter."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class FileServer(Quiet):
    """Serves the files of a folder, whole or by range, and notes (path, range asked for, bytes sent)."""

    def __init__(self, folder, ranges=True):
        super().__init__(_Files)
        self.folder, self.ranges = Path(folder), ranges
        self.sent = []


class _Files(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.server.folder / unquote(self.path.lstrip("/"))
        if not path.is_file():
            self._answer(404, b"")
            return
        data, asked = path.read_bytes(), self.headers.get("Range")
        if asked is None or not self.server.ranges:
            self._note(asked, data)
            self._answer(200, data)
            return
        first, last = re.fullmatch(r"bytes=(\d*)-(\d*)", asked).groups()
        start = int(first) if first else max(0, len(data) - int(last))
        stop = min(len(data), int(last) + 1) if first and last else len(data)
        self._note(asked, data[start:stop])
        self._answer(206, data[start:stop], f"bytes {start}-{stop - 1}/{len(data)}")

    do_HEAD = do_GET

    def _note(self, asked, data):
        if self.command == "GET":
            self.server.sent.append((self.path, asked, len(data)))

    def _answer(self, status, data, content_range=None):
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_):
        pass


class FlakyProxy(Quiet):
    """Passes requests on to a server and spoils a share of them, the same ones for a seed in one thread.

    Kinds: ``503``; ``403``; ``reset`` before the request was passed on; ``lost``: reset after it was carried
    out; ``cut``: half of the answer, then a reset; ``stall``: no answer for a while.
    """

    def __init__(self, target, share=0.0, kinds=("503", "reset", "lost", "cut"), seed=0):
        super().__init__(_Forward)
        self.target, self.share, self.kinds = target, share, kinds
        self.random = random.Random(seed)
        self.guard = threading.Lock()
        self.spoilt = Counter()
        self.requests = []

    def fate(self, request):
        with self.guard:
            self.requests.append(request)
            if self.random.random() >= self.share:
                return None
            kind = self.random.choice(self.kinds)
            self.spoilt[kind] += 1
            return kind


class _Forward(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _handle(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.server.fate(f"{self.command} {self.path}")
        if kind in ("503", "403"):
            self._answer(int(kind), [], b"<Error><Code>SlowDown</Code></Error>")
            return
        if kind in ("reset", "stall"):
            time.sleep(3 if kind == "stall" else 0)
            self._reset()
            return
        connection = http.client.HTTPConnection(*self.server.target, timeout=60)
        try:
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            answer = connection.getresponse()
            status, headers, data = answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()
        if kind == "lost":
            self._reset()
        else:
            self._answer(status, headers, data, cut=kind == "cut")

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle

    def _answer(self, status, headers, data, cut=False):
        self.send_response_only(status)
        length = str(len(data))
        for name, value in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self.wfile.flush()
            self._reset()

    def _reset(self):
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, *_):
        pass
