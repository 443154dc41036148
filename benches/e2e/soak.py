"""Mixed load for a long time, with a reload every second: nothing may fail, and memory must not grow.

Called by soak.sh. Browsers with sessions whose tokens live for half a minute read, send sized and chunked bodies, listen
to events and come with new connections; wrk (HTTP/1.1) and h2load (HTTP/2 over TLS) ask an open route meanwhile. Every
second the configuration is another one, every tenth time a broken one, and the certificate changes now and then.
"""

import argparse
import asyncio
import http.client
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from measure import Bench, free_port, resident, wait_for

TOKEN_LIFE = 30  # seconds


class Soak(Bench):
    def start(self):
        self.home_port = free_port()
        self.home = f"http://localhost:{self.home_port}"
        self.tls_port, self.admin = free_port(), free_port()
        self.start_upstream()
        command = [self.args.bin / "examples/bench_provider", self.secret, f"{self.home}/oauth2/callback", TOKEN_LIFE]
        provider = self.spawn(command, stdout=subprocess.PIPE, text=True)
        self.issuer = provider.stdout.readline().strip()
        self.new_certificate()
        self.config = self.dir / "bearward.yaml"
        self.number = 0
        self.write()
        self.gateway = self.spawn([self.args.bin / "bearward", "run", self.config])
        wait_for(self.home_port)
        self.wait_ready()

    def new_certificate(self):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
             "-keyout", self.dir / "new.key", "-out", self.dir / "new.crt"],
            check=True, capture_output=True)
        # The certificate last: whoever reads in between meets the pair of before, or one that does not fit.
        for name in ("key", "crt"):
            os.replace(self.dir / f"new.{name}", self.dir / f"tls.{name}")

    def write(self):
        """Another configuration: routes, header fields and upstreams change, what a reload cannot change stays."""
        self.number += 1
        up = f"http://127.0.0.1:{self.upstream}"
        broken = "" if self.number % 10 else "  - { path: /broken, upstream: nowhere, auth: none }\n"
        extra = "".join(
            f"  - {{ path: /extra-{one}/*, upstream: '{up}', auth: session }}\n" for one in range(self.number % 7))
        new = self.dir / "new.yaml"
        new.write_text(
            f"public_url: {self.home}\n"
            f"listeners:\n"
            f"  - {{ address: '127.0.0.1:{self.home_port}' }}\n"
            f"  - {{ address: '127.0.0.1:{self.tls_port}', tls: {{ cert: tls.crt, key: tls.key }} }}\n"
            f"admin: {{ address: '127.0.0.1:{self.admin}' }}\n"
            f"provider: {{ issuer: '{self.issuer}', client_id: bearward, client_secret: {{ env: BENCH_SECRET }} }}\n"
            f"session: {{ keys: [ {{ env: BENCH_KEY }} ] }}\n"
            f"log: {{ access: false }}\n"
            f"workers: 2\n"
            f"routes:\n"
            f"  - path: /api/*\n    upstream: '{up}'\n    auth: session\n"
            f"    headers: {{ set: {{ X-Team: 'team-{self.number}-{{sub}}' }} }}\n"
            f"  - {{ path: /own/*, upstream: 'http://127.0.0.1:{self.own}', auth: session }}\n"
            f"  - {{ path: /*, upstream: '{up}', auth: none }}\n{extra}{broken}")
        os.replace(new, self.config)

    async def reloads(self, until):
        while time.monotonic() < until:
            await asyncio.sleep(1)
            if self.number % 30 == 0:
                await asyncio.to_thread(self.new_certificate)
            self.write()
            self.gateway.send_signal(signal.SIGHUP)

    async def memory(self, until, samples):
        while time.monotonic() < until:
            samples.append((time.monotonic(), resident(self.gateway.pid)))
            await asyncio.sleep(5)

    async def tool(self, until, name, command):
        """Runs a load generator in pieces, each of which must see no failure."""
        requests = 0
        while (left := until - time.monotonic()) > 2:
            seconds = int(min(60, left))
            process = await asyncio.create_subprocess_exec(
                *[str(word).format(seconds=seconds) for word in command],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            text = (await process.communicate())[0].decode()
            if name == "wrk":
                good = "Non-2xx" not in text and "Socket errors" not in text
                found = re.search(r"(\d+) requests in", text)
            else:
                good = re.search(r" 0 failed, 0 errored, 0 timeout", text)
                found = re.search(r"(\d+) succeeded", text)
            if not good or not found or int(found[1]) == 0:
                self.failures.append(f"{name}: {text}")
                return requests
            requests += int(found[1])
        return requests

    def scrape(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=5)
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()

    async def run_for(self, minutes):
        self.failures = []
        upstream = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.own = upstream.sockets[0].getsockname()[1]
        await asyncio.to_thread(self.start)
        browsers = []
        for number in range(self.args.browsers):
            await asyncio.to_thread(self.login, self.home)
            browsers.append(Browser(self, number, self.cookie))
        print(f"{len(browsers)} browsers are logged in", file=sys.stderr)
        samples, begun = [], time.monotonic()
        until = begun + minutes * 60
        # Closed loops would take the whole machine; a few connections are enough to be always there.
        wrk = ["wrk", "-t1", "-c4", "-d{seconds}s", f"http://127.0.0.1:{self.home_port}/open"]
        # It opens no second connection where the first one may carry no more (`limits.requests_per_connection`).
        h2load = ["h2load", "-c4", "-m8", "-t1", "-n20000", f"https://localhost:{self.tls_port}/open"]
        results = await asyncio.gather(
            self.tool(until, "wrk", wrk),
            self.tool(until, "h2load", h2load),
            self.reloads(until),
            self.memory(until, samples),
            *(browser.live(until) for browser in browsers))
        await asyncio.sleep(2)
        self.report(results[:2], browsers, samples, begun)
        return not self.failures

    def report(self, tools, browsers, samples, begun):
        sent = sum(browser.sent for browser in browsers)
        rotations = sum(browser.rotations for browser in browsers)
        print(f"\n{(time.monotonic() - begun) / 60:.1f} minutes, {self.number} configurations")
        print(f"requests: {sent} of {len(browsers)} browsers, {tools[0]} by wrk, {tools[1]} by h2load")
        print(f"new cookies: {rotations}")
        print("| minute | resident MB |\n|---|---|")
        step = max(1, len(samples) // 10)
        for at, size in samples[::step] + samples[-1:]:
            print(f"| {(at - begun) / 60:.1f} | {size / 1e6:.1f} |")
        for line in self.scrape().splitlines():
            if re.match(r"bearward_(config_reload|reload|refresh|session|rollback)\w*", line) and not line.endswith(" 0"):
                print(line)
        print(f"failures: {len(self.failures)}")
        for failure in self.failures[:20]:
            print(failure)


class Browser:
    """Keeps one connection for a while, takes whatever cookie it is given, and never gives up."""

    def __init__(self, soak, number, cookie):
        self.soak, self.number = soak, number
        self.cookie = re.search(r"bearward=([^;]+)", cookie)[1]
        self.sent = self.rotations = 0
        self.random = random.Random(number)

    async def live(self, until):
        reader = writer = None
        try:
            while time.monotonic() < until:
                if writer is None or self.random.random() < 0.02:
                    if writer:
                        writer.close()
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.soak.home_port)
                kind = self.random.choice(["read", "read", "read", "head", "sized", "chunked", "events"])
                status, body = await asyncio.wait_for(self.ask(reader, writer, kind), 60)
                self.sent += 1
                if status != 200 or not self.fits(kind, body):
                    self.soak.failures.append(f"browser {self.number}: {kind} was answered with {status}: {body[:300]!r}")
                    return
                await asyncio.sleep(self.random.uniform(0, 0.2))
        except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError) as error:
            self.soak.failures.append(f"browser {self.number}: {error!r} after {self.sent} requests")

    def fits(self, kind, body):
        if kind in ("sized", "chunked"):
            return body == str(len(PAYLOAD)).encode()
        return {"head": body == b"", "events": body.count(b"data:") == 5}.get(kind, len(body) == 200)

    async def ask(self, reader, writer, kind):
        method, path, fields, body = {
            "read": ("GET", "/api/orders", "", b""),
            "head": ("HEAD", "/api/orders", "", b""),
            "sized": ("POST", "/own/count", f"Content-Length: {len(PAYLOAD)}\r\n", PAYLOAD),
            "chunked": ("POST", "/own/count", "Transfer-Encoding: chunked\r\n",
                        b"%x\r\n%s\r\n0\r\n\r\n" % (len(PAYLOAD), PAYLOAD)),
            "events": ("GET", "/own/events", "", b""),
        }[kind]
        writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: localhost:{self.soak.home_port}\r\nSec-Fetch-Site: same-origin\r\n"
            f"Sec-Fetch-Mode: cors\r\nCookie: bearward={self.cookie}\r\n{fields}\r\n".encode() + body)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        for name, value in re.findall(r"(?im)^set-cookie: (bearward)=([^;\r]*)", head):
            del name
            self.cookie, self.rotations = value, self.rotations + 1
        content = b""
        if method != "HEAD":
            content = await read_body(reader, head)
        return int(head.split(" ", 2)[1]), content


PAYLOAD = b"y" * 40_000


async def read_body(reader, head):
    length = re.search(r"(?im)^content-length: (\d+)", head)
    if length:
        return await reader.readexactly(int(length[1]))
    content = b""
    while size := int(await reader.readline(), 16):
        content += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return content


async def serve(reader, writer):
    """An upstream that counts bodies and tells five events."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            if head.startswith("POST"):
                count = str(len(await read_body(reader, head))).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(count), count))
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
                for _ in range(5):
                    writer.write(b"9\r\ndata: x\n\n\r\n")
                    await writer.drain()
                    await asyncio.sleep(0.3)
                writer.write(b"0\r\n\r\n")
            await writer.drain()
    except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
        writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--browsers", type=int, default=40)
    args = parser.parse_args()
    args.bin = args.bin.resolve()
    soak = Soak(args)
    try:
        good = asyncio.run(soak.run_for(args.minutes))
    finally:
        soak.end_all()
        shutil.rmtree(soak.dir, ignore_errors=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
