"""Serves the files of a static site on $PORT.

Only files are served: no listings, nothing whose name begins with a dot except `.well-known`, and of the app's
top directory not what is meant for the platform. Files are known to caches by their contents: in a slug they
have no times that would mean anything.
"""

import hashlib
import http.server
import os
import shutil
import signal
import socket
import sys
import threading
import urllib.parse

APP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PRIVATE = {"Procfile", "static.json", "app.json", "heroku.yml", "node_modules"}
SECONDS_IDLE = 65


def document_root():
    with open(os.path.join(APP, ".openruko", "static-root"), encoding="utf-8") as file:
        return os.path.realpath(os.path.join(APP, file.read()))


ROOT = document_root()


def file_of(url):
    """The file that a URL's path names; None if there is none to be served. A directory's is its index.html."""
    path = urllib.parse.unquote(url.split("?", 1)[0].split("#", 1)[0], errors="surrogateescape")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if any(part == ".." or "\0" in part or (part.startswith(".") and part != ".well-known") for part in parts):
        return None
    if ROOT == APP and parts and parts[0] in PRIVATE:
        return None
    target = os.path.realpath(os.path.join(ROOT, *parts))
    if os.path.isdir(target):
        target = os.path.realpath(os.path.join(target, "index.html"))
    inside = os.path.commonpath([ROOT, target]) == ROOT
    return target if inside and os.path.isfile(target) else None


class Tags:
    """ETags by file: a digest of the contents, computed once. A slug's files do not change while it runs."""

    def __init__(self):
        self.known = {}
        self.lock = threading.Lock()

    def of(self, path):
        with self.lock:
            tag = self.known.get(path)
        if tag is None:
            digest = hashlib.sha256()
            with open(path, "rb") as file:
                for piece in iter(lambda: file.read(1 << 20), b""):
                    digest.update(piece)
            tag = f'"{digest.hexdigest()[:32]}"'
            with self.lock:
                self.known[path] = tag
        return tag


TAGS = Tags()


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "openruko-static"
    sys_version = ""
    timeout = SECONDS_IDLE

    def do_GET(self):
        self.answer(with_body=True)

    def do_HEAD(self):
        self.answer(with_body=False)

    def answer(self, with_body):
        path = file_of(self.path)
        if path is None:
            self.answer_missing(with_body)
        elif self.lacks_slash(path):
            self.answer_redirect()
        elif self.headers.get("If-None-Match") == TAGS.of(path):
            self.send_response(304)
            self.send_header("ETag", TAGS.of(path))
            self.end_headers()
        else:
            self.send_file(200, path, with_body)

    def lacks_slash(self, path):
        """Whether a directory was asked for without the slash by which its relative links are resolved."""
        asked = self.path.split("?", 1)[0].split("#", 1)[0]
        return os.path.basename(path) == "index.html" and not asked.endswith(("/", "index.html"))

    def answer_redirect(self):
        asked, mark, query = self.path.partition("?")
        # Two slashes at the beginning would name a host.
        self.send_response(301)
        self.send_header("Location", "/" + asked.strip("/") + "/" + mark + query)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer_missing(self, with_body):
        page = file_of("/404.html")
        if page is not None:
            return self.send_file(404, page, with_body)
        body = b"Not found\n"
        self.send_response(404)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def send_file(self, status, path, with_body):
        kind = self.guess_type(path)
        if kind.startswith("text/") or kind in ("application/javascript", "application/json"):
            kind += "; charset=utf-8"
        with open(path, "rb") as file:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(os.fstat(file.fileno()).st_size))
            self.send_header("ETag", TAGS.of(path))
            self.send_header("Cache-Control", "no-cache")
            self.end_headers()
            if with_body:
                shutil.copyfileobj(file, self.wfile)

    def log_message(self, format, *args):
        """The router logs requests; a second line for each would only hide what is wrong."""


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """A client that goes away in the middle is nobody's fault."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError, socket.timeout)):
            super().handle_error(request, client_address)


def main():
    port = int(os.environ.get("PORT", "5000"))
    server = Server(("0.0.0.0", port), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"Serving {ROOT} on port {port}", flush=True)
    server.serve_forever()


main()
