#!/usr/bin/python3
"""Answers with what it was asked, as JSON; the path may ask for a status, a pause or fields."""
import http.server, json, os, socket, time, urllib.parse

class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size)
        url = urllib.parse.urlsplit(self.path)
        asked = dict(urllib.parse.parse_qsl(url.query))
        time.sleep(float(asked.get("sleep", 0)))
        text = json.dumps({"method": self.command, "uri": self.path, "length": len(body), "pid": os.getpid(),
                           "headers": {name.lower(): self.headers.get_all(name) for name in self.headers}})
        text = (text + " " * int(asked.get("pad", 0))).encode()
        self.send_response(int(asked.get("status", 200)))
        for field in ("Server", "X-Own", "Set-Cookie"):
            if field.lower() in asked:
                self.send_header(field, asked[field.lower()])
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    def address_string(self):
        return "proxy"

    def log_message(self, *words):
        pass

class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_UNIX

    def __init__(self):
        super().__init__("", Echo, bind_and_activate=False)
        self.socket = socket.socket(fileno=3)

    def get_request(self):
        connection, _ = self.socket.accept()
        return connection, ("proxy", 0)

Server().serve_forever()
