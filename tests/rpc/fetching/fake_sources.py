"""A local server that imitates the Hugging Face hub and OpenAI's bucket, and misbehaves when told to.

Large files of the hub are redirected to another host, as the real one does: 127.0.0.1 is the hub, localhost the CDN.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "a" * 40
PAGE = b"<!DOCTYPE html><html><head><title>404</title></head><body>Not here.</body></html>\n"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        fake = self.server.fake
        path = self.path.partition("?")[0]
        if path.startswith("http://"):  # we are asked as a proxy
            path = "/" + path[7:].partition("/")[2]
        fake.requests.append((self.command, path, dict(self.headers)))
        spoiler = fake.next_spoiler(path) if self.command == "GET" or path.startswith("/api/") else None
        try:
            if path in fake.redirects:
                self.reply(302, b"", Location=fake.redirects[path])
            elif spoiler:
                spoiler(self, fake.files.get(path, b""))
            else:
                self.serve(path)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        if "Transfer_Encoding" not in headers:
            headers.setdefault("Content_Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def serve(self, path: str, content: bytes | None = None, *, ranges: bool = True, etag: str | None = None) -> None:
        """As a good server does: ranges, If-Range, ETag."""
        fake = self.server.fake
        content = fake.files.get(path) if content is None else content
        if content is None:
            self.reply(404, PAGE, Content_Type="text/html")
            return
        etag = f'"{hashlib.md5(content).hexdigest()}"' if etag is None else etag
        headers = {"ETag": etag} if etag else {}
        wanted = self.headers.get("Range", "")
        if_range = self.headers.get("If-Range", "")
        if ranges and wanted.startswith("bytes=") and if_range in ("", etag):
            start = int(wanted[6:].partition("-")[0])
            if start >= len(content):
                self.reply(416, b"", Content_Range=f"bytes */{len(content)}")
                return
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.reply(206, content[start:], Content_Range=span, **headers)
        else:
            self.reply(200, content, **headers)

    def cut(self, content: bytes, after: int) -> None:
        """Promise all of what was asked for, send so many bytes of it, hang up."""
        start = int(self.headers["Range"][6:].partition("-")[0]) if "Range" in self.headers else 0
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.md5(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[start : start + after])
        self.wfile.flush()
        self.close_connection = True


Spoiler = Callable[[Handler, bytes], None]


class Server(ThreadingHTTPServer):
    daemon_threads = True
    fake: FakeSources


@dataclass
class FakeSources:
    """What the server has, and what it will do wrong."""

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    spoilers: dict[str, list[Spoiler]] = field(default_factory=dict)
    drops: list[int] = field(default_factory=list)  # numbers of the bytes that dripped
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def hub_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/gpt-2"

    def spoil(self, name: str, *spoilers: Spoiler) -> None:
        """Let the next answers to requests for a path that ends so be these."""
        [path] = [path for path in self.files if path.endswith(name) and path not in self.redirects]
        self.spoilers[path] = list(spoilers)

    def always(self, name: str, spoiler: Spoiler) -> None:
        self.spoil(name, *[spoiler] * 1000)

    def next_spoiler(self, path: str) -> Spoiler | None:
        waiting = self.spoilers.get(path)
        return waiting.pop(0) if waiting else None

    def asked_for(self, name: str, method: str = "GET") -> list[dict[str, str]]:
        """Headers of the requests for paths that end so."""
        return [headers for verb, path, headers in self.requests if verb == method and path.endswith(name)]

    def add_repository(self, repository: str, folder: Path, *, commit: str = COMMIT, **changes: bytes) -> None:
        """Serve a Hugging Face folder."""
        siblings = []
        for path in sorted(folder.iterdir()):
            content = path.read_bytes()
            url = f"/{repository}/resolve/{commit}/{path.name}"
            sibling: dict[str, Any] = {"rfilename": path.name, "size": len(content)}
            if path.suffix == ".safetensors":
                sha = hashlib.sha256(content).hexdigest()
                sibling |= {"blobId": "0" * 40, "lfs": {"size": len(content), "sha256": sha, "pointerSize": 134}}
                self.redirects[url] = f"http://localhost:{self.port}/cdn/{path.name}"
                self.files[f"/cdn/{path.name}"] = content
            else:
                sibling["blobId"] = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
                self.files[url] = content
            siblings.append(sibling)
        about = {"id": repository, "sha": commit, "siblings": siblings, "private": False, "tags": [], "downloads": 0}
        self.files[f"/api/models/{repository}"] = json.dumps(about).encode()

    def add_bucket(self, name: str, folder: Path) -> None:
        """Serve a folder in OpenAI's layout."""
        for path in folder.iterdir():
            self.files[f"/gpt-2/models/{name}/{path.name}"] = path.read_bytes()


@contextmanager
def running() -> Iterator[FakeSources]:
    """A server on a free port."""
    server = Server(("", 0), Handler)
    server.fake = fake = FakeSources(server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


# Misbehaviour


def cuts_after(count: int) -> Spoiler:
    return lambda handler, content: handler.cut(content, count)


def answers(status: int, body: bytes = b"", **headers: str) -> Spoiler:
    return lambda handler, content: handler.reply(status, body, **headers)


def sends(other: bytes, **options: Any) -> Spoiler:
    """Serve other content, with the manners of a good server."""
    return lambda handler, content: handler.serve("", other, **options)


def ignores_range(handler: Handler, content: bytes) -> None:
    handler.serve("", content, ranges=False)


def gzips(handler: Handler, content: bytes) -> None:
    handler.reply(200, gzip.compress(content), Content_Encoding="gzip")


def chunks(handler: Handler, content: bytes) -> None:
    """Say no size."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (content[:1000], content[1000:]))
    handler.reply(200, body + b"0\r\n\r\n", Transfer_Encoding="chunked")


def gives_a_little_of_what_is_asked(handler: Handler, content: bytes) -> None:
    """Answer a range with less than all of it, as a server may."""
    start = int(handler.headers["Range"][6:].partition("-")[0])
    part = content[start : start + 2000]
    span = f"bytes {start}-{start + len(part) - 1}/{len(content)}"
    handler.reply(206, part, Content_Range=span, ETag=f'"{hashlib.md5(content).hexdigest()}"')


def drips(handler: Handler, content: bytes) -> None:
    """A byte now and then, until the reader has had enough."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    fake = handler.server.fake
    for number in range(len(content)):
        handler.wfile.write(content[number : number + 1])
        handler.wfile.flush()
        fake.drops.append(number)
        if fake.stopping.wait(0.1):
            break
    handler.close_connection = True


def hangs(handler: Handler, content: bytes) -> None:
    """Say nothing."""
    handler.server.fake.stopping.wait(20)
    handler.close_connection = True
