"""A hub on 127.0.0.1 that keeps what is uploaded in memory: as much of Hugging Face's protocol as presets need."""

import base64
import contextlib
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SHA = "0123456789abcdef0123456789abcdef01234567"


def oid(content):
    """What git calls a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Hub(BaseHTTPRequestHandler):
    """`server.repositories`: "user/name" -> file name -> bytes."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, content, status=200, **headers):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(content), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        repositories = self.server.repositories
        if self.path == "/api/repos/create":
            told = json.loads(body)
            name = f"{told.get('organization') or 'me'}/{told['name']}"
            repositories.setdefault(name, {})
            self.answer({"url": f"http://127.0.0.1:{self.server.server_port}/{name}", "name": name})
        elif self.path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            modes = {"uploadMode": "regular", "shouldIgnore": False}
            self.answer({"files": [{"path": file["path"], **modes} for file in json.loads(body)["files"]]})
        elif found := re.match(r"/api/models/(.+?)/commit/", self.path):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    repositories[found[1]][line["value"]["path"]] = content
            page = f"http://127.0.0.1:{self.server.server_port}/{found[1]}/commit/{SHA}"
            self.answer({"success": True, "commitOid": SHA, "commitUrl": page, "hookOutput": ""})
        else:
            self.answer({"error": self.path}, 404)

    def do_GET(self):
        repositories = self.server.repositories
        info = re.match(r"/api/models/([^/]+/[^/?]+)(?:/revision/[^?]+)?(?:\?.*)?$", self.path)
        tree = re.match(r"/api/models/([^/]+/[^/?]+)/tree/", self.path)
        file = re.match(r"/([^/]+/[^/]+)/resolve/[^/]+/([^?]+)", self.path)
        if info and info[1] in repositories:
            names = [{"rfilename": name} for name in repositories[info[1]]]
            self.answer({"id": info[1], "sha": SHA, "siblings": names, "private": False, "tags": []})
        elif tree and tree[1] in repositories:
            files = repositories[tree[1]].items()
            self.answer([{"type": "file", "path": path, "size": len(x), "oid": oid(x)} for path, x in files])
        elif file and file[2] in repositories.get(file[1], {}):
            content = repositories[file[1]][file[2]]
            self.answer(content, ETag=f'"{oid(content)}"', X_Repo_Commit=SHA)
        else:
            self.answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")

    do_HEAD = do_GET  # noqa: N815 - the names of http.server


@contextlib.contextmanager
def hub():
    """A running hub: its address, and what it keeps."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    server.repositories = {}
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.repositories
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
