"""Two servers of Python's own that guard nothing: files, and a WSGI application.

Whoever reaches /admin/secret reads it. Prints their ports as one line of JSON; ends with its standard input.
"""

import functools
import http.server
import json
import sys
import threading
import wsgiref.simple_server


class Files(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def end_headers(self):
        self.send_header("X-Target", self.path)
        super().end_headers()

    def log_message(self, *_):
        pass


class Handler(wsgiref.simple_server.WSGIRequestHandler):
    def get_environ(self):
        return super().get_environ() | {"target": self.path}

    def log_message(self, *_):
        pass


def application(environ, start_response):
    # PEP 3333: PATH_INFO is decoded before the application sees it.
    protected = (environ["PATH_INFO"] + "/").startswith("/admin/")
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Target", environ["target"])])
    return [b"PROTECTED" if protected else b"open"]


files = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=sys.argv[1]))
wsgi = wsgiref.simple_server.make_server("127.0.0.1", 0, application, handler_class=Handler)
for server in (files, wsgi):
    threading.Thread(target=server.serve_forever, daemon=True).start()
print(json.dumps({"files": files.server_port, "wsgi": wsgi.server_port}), flush=True)
sys.stdin.read()
