"""A Hub on the loopback: enough of its HTTP interface for a repository and a commit; it keeps what it was sent."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FakeHub(ThreadingHTTPServer):
    """files: what stands in the repository. commits, requests: how many, and (path, authorization) of each.

    refuse: status code with which commits are answered instead.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.commits = 0
        self.created: dict = {}
        self.requests: list[tuple[str, str]] = []
        self.refuse = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        hub, path = self.server, self.path.partition("?")[0]
        hub.requests.append((path, self.headers.get("Authorization") or ""))
        if path == "/api/repos/create":
            hub.created = json.loads(body)
            self._answer({"url": f"{hub.url}/{hub.created['organization']}/{hub.created['name']}"})
        elif path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif path.endswith("/preupload/main"):
            files = json.loads(body)["files"]
            self._answer(
                {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
            )
        elif path.endswith("/commit/main"):
            if hub.refuse:
                self._answer({"error": "no"}, hub.refuse)
                return
            for line in body.splitlines():
                item = json.loads(line)
                if item["key"] == "file":
                    hub.files[item["value"]["path"]] = base64.b64decode(item["value"]["content"])
            hub.commits += 1
            self._answer({"commitUrl": f"{hub.url}/me/forgetful/commit/1", "commitOid": "1", "success": True})
        else:
            self._answer({"error": path}, 404)

    def _answer(self, content: dict, status: int = 200) -> None:
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    server = FakeHub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
