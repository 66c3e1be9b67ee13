"""A chat-completions server on the loopback, whose misbehaviour is scripted."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "sk-Secret0123456789"
IMAGE, TEXT = "mllmu_forget_generation_image", "mllmu_forget_generation_text"
GIVEN = {
    IMAGE: {"001": ["grade 9", "grade 8"], "002": ["grade 2", ""]},
    TEXT: {"001": ["grade 10", "grade 9"], "003": ["grade 5", "grade 5 again"]},
    "mllmu_forget_cloze_text": {"001": ["not for the judge"]},
}


class JudgeServer(ThreadingHTTPServer):
    """Speaks the protocol. `script` holds what to do with the next requests; when it is empty, grade.

    A step is (status, headers, body) or a number of seconds to sleep before grading. Grades come from `grade`, a
    function of the material (question, truth, answer) that gives the text of the reply.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script, self.requests, self.times = [], [], []
        self.lock = threading.Lock()
        self.active = self.most = 0
        self.pause = 0.0
        self.grade = lambda material: '{"Factuality Score": 7, "Justification": "Mostly right."}'

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request, client_address):
        """A client that went away is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Not into the output of the tests."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.requests.append((self.path, dict(self.headers), body))
            server.times.append(time.monotonic())
            server.active += 1
            server.most = max(server.most, server.active)
            step = server.script.pop(0) if server.script else server.pause
        try:
            if isinstance(step, tuple):
                self._send(*step)
            else:
                time.sleep(step)
                prompt = body["messages"][1]["content"]
                material = json.loads(prompt[prompt.index("{\n") : prompt.index("\n}") + 2])
                self._send(200, {}, completion(server.grade(material)))
        finally:
            with server.lock:
                server.active -= 1

    def _send(self, status, headers, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def completion(text):
    return {
        "model": "judge-2026",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 300, "completion_tokens": 20},
    }


def error(message, code=None):
    return {"error": {"message": message, "type": "error", "code": code}}


def judged(folder):
    (file,) = folder.rglob("*_judged.json")
    return json.loads(file.read_text())
