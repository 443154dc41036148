"""Measures Bearward next to bare pingora and nginx, interleaved, on loopback. Called by run.sh.

Everything it starts, it ends; it touches nothing else. CPU is utime + stime of the proxy's process (and nginx's
worker), divided by the requests that wrk counted.
"""

import argparse
import base64
import http.client
import json
import os
import re
import resource
import secrets
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urljoin, urlsplit

TICK = os.sysconf("SC_CLK_TCK")
COOKIES = 2100  # bytes of Cookie per request, ours and others
BODY = "x" * 200
# What a browser's fetch() sends besides cookies.
HEADERS = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
    "Accept": "application/json",
    "Accept-Language": "en-US,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Sec-Fetch-Dest": "empty",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Site": "same-origin",
}


class Bench:
    def __init__(self, args):
        self.args = args
        self.dir = Path(tempfile.mkdtemp(prefix="bearward-bench-"))
        self.started = []
        many = (os.cpu_count() or 1) > 1
        # The proxy has a core of its own; load and upstream share another.
        self.proxy_cpu = ["taskset", "-c", "0"] if many else []
        self.load_cpu = ["taskset", "-c", "1"] if many else []
        self.key = base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
        self.secret = secrets.token_urlsafe(24)
        self.env = {**os.environ, "BENCH_SECRET": self.secret, "BENCH_KEY": self.key}
        # The same key in every process: one login serves all of them.
        self.upstream = free_port()

    # Processes

    def spawn(self, command, cpu=(), **options):
        options.setdefault("stdout", subprocess.DEVNULL)
        options.setdefault("stderr", open(self.dir / "stderr", "ab"))
        process = subprocess.Popen([*cpu, *map(str, command)], env=self.env, **options)
        self.started.append(process)
        return process

    def end(self, process):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process in self.started:
            self.started.remove(process)

    def end_all(self):
        for process in list(self.started):
            self.end(process)

    def nginx(self, name, server, http="", cpu=()):
        root = self.dir / name
        root.mkdir(exist_ok=True)
        temps = "".join(
            f"{kind}_temp_path {root}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (root / "nginx.conf").write_text(
            f"worker_processes 1; daemon off; pid {root}/pid; error_log {root}/error.log;\n"
            f"events {{ worker_connections 16384; }}\n"
            f"http {{ {temps} keepalive_requests 1000000000; keepalive_timeout 1h; access_log off;\n"
            f"{http}\nserver {{ {server} }} }}\n"
        )
        return self.spawn(["nginx", "-p", root, "-c", root / "nginx.conf", "-e", root / "error.log"], cpu)

    def start_upstream(self):
        self.nginx(
            "upstream",
            f'listen 127.0.0.1:{self.upstream} backlog=4096; default_type text/plain; return 200 "{BODY}";',
            cpu=self.load_cpu,
        )
        wait_for(self.upstream)

    def start_nginx(self, port, log="off"):
        process = self.nginx(
            f"proxy-{port}",
            f"listen 127.0.0.1:{port} backlog=4096; access_log {log};"
            "location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ''; }",
            f"upstream up {{ server 127.0.0.1:{self.upstream}; keepalive 256; keepalive_requests 1000000000; }}",
            self.proxy_cpu,
        )
        wait_for(port)
        return process

    def start_bare(self, port):
        command = [self.args.bin / "examples/bare_pingora", f"127.0.0.1:{port}", f"127.0.0.1:{self.upstream}"]
        process = self.spawn(command, self.proxy_cpu)
        wait_for(port)
        return process

    def start_provider(self, home):
        command = [self.args.bin / "examples/bench_provider", self.secret, f"{home}/oauth2/callback"]
        process = self.spawn(command, self.load_cpu, stdout=subprocess.PIPE, text=True)
        self.issuer = process.stdout.readline().strip()

    def bearward_command(self, port, issuer, access="false"):
        config = self.dir / f"bearward-{port}.yaml"
        up = f'upstream: "http://127.0.0.1:{self.upstream}"'
        config.write_text(
            f"public_url: http://localhost:{port}\n"
            f"listeners: [ {{ address: '127.0.0.1:{port}' }} ]\n"
            f"admin: {{ address: '127.0.0.1:{free_port()}' }}\n"
            f"provider: {{ issuer: '{issuer}', client_id: bearward, client_secret: {{ env: BENCH_SECRET }} }}\n"
            f"session: {{ keys: [ {{ env: BENCH_KEY }} ] }}\n"
            f"log: {{ access: {access} }}\n"
            f"workers: 1\n"
            f"routes:\n"
            f"  - {{ path: /api/*, {up}, auth: session }}\n"
            f"  - {{ path: /*, {up}, auth: none }}\n"
        )
        return [self.args.bin / "bearward", "run", config]

    def start_bearward(self, port, access="false", issuer=None):
        command = self.bearward_command(port, issuer or self.issuer, access)
        # A record per request goes where it costs a system call and no disk.
        options = {"stderr": subprocess.DEVNULL} if access == "true" else {}
        process = self.spawn(command, self.proxy_cpu, **options)
        wait_for(port)
        return process

    # Requests

    def login(self, home):
        """The Cookie of a fresh session, and others up to a usual size."""
        jars, url = {}, f"{home}/oauth2/login?login_hint=alice"
        for _ in range(6):
            parts = urlsplit(url)
            jar = jars.setdefault(parts.netloc, {})
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=5)
            cookie = "; ".join(f"{name}={value}" for name, value in jar.items())
            connection.request("GET", parts.path + ("?" + parts.query if parts.query else ""),
                               headers={"Accept": "text/html", **({"Cookie": cookie} if cookie else {})})
            answer = connection.getresponse()
            for line in answer.headers.get_all("Set-Cookie") or []:
                name, _, value = line.split(";")[0].partition("=")
                jar[name] = value
            location = answer.getheader("Location")
            if not location:
                sys.exit(f"the login ended with {answer.status} at {url}: {answer.read()[:300]}")
            url = urljoin(url, location)
            own = {name: value for name, value in jars[urlsplit(home).netloc].items() if value}
            if "bearward" in own:
                break
        ours = f"bearward={own['bearward']}"
        others = f"_ga=GA1.1.{secrets.randbelow(10**9)}.1763000000; theme=dark; prefs="
        pad = secrets.token_hex(COOKIES)[: max(8, COOKIES - len(ours) - len(others) - 2)]
        self.cookie = f"{others}{pad}; {ours}"
        print(f"cookies: {len(self.cookie)} bytes, {len(ours)} of them ours", file=sys.stderr)

    def wrk(self, port, path, seconds, connections):
        """Requests and the median latency in microseconds."""
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
        for name, value in {**HEADERS, "Cookie": self.cookie, "Host": f"localhost:{self.home_port}"}.items():
            command += ["-H", f"{name}: {value}"]
        command.append(f"http://127.0.0.1:{port}{path}")
        text = subprocess.run([*self.load_cpu, *command], capture_output=True, text=True, check=True).stdout
        if "Non-2xx" in text or "Socket errors" in text:
            sys.exit(f"not every request was answered with 200:\n{text}")
        median, unit = re.search(r"50%\s+([\d.]+)(us|ms|s)", text).groups()
        scale = {"us": 1, "ms": 1e3, "s": 1e6}[unit]
        return int(re.search(r"(\d+) requests in", text)[1]), float(median) * scale

    def round(self, process, port, path):
        """CPU microseconds per request, and requests per second."""
        before = cpu_seconds(process.pid)
        requests, _ = self.wrk(port, path, self.args.seconds, 64)
        return (cpu_seconds(process.pid) - before) * 1e6 / requests, requests / self.args.seconds

    # Figures

    def cpu(self):
        ports = {name: free_port() for name in ("bare", "nginx", "nginx_log", "log")}
        bearward = self.start_bearward(self.home_port)
        logging = self.start_bearward(ports["log"], "true")
        self.wait_ready()
        self.login(self.home)
        nginx = self.start_nginx(ports["nginx"])
        nginx_log = self.start_nginx(ports["nginx_log"], "/dev/null")
        bare = self.start_bare(ports["bare"])
        targets = {
            "bare": (bare, ports["bare"], "/api/orders"),
            "nginx": (nginx, ports["nginx"], "/api/orders"),
            "none": (bearward, self.home_port, "/orders"),
            "session": (bearward, self.home_port, "/api/orders"),
            "nginx_log": (nginx_log, ports["nginx_log"], "/api/orders"),
            "none_log": (logging, ports["log"], "/orders"),
            "session_log": (logging, ports["log"], "/api/orders"),
        }
        for process, port, path in targets.values():
            self.wrk(port, path, 1, 64)
        costs = {name: [] for name in targets}
        rates = {name: [] for name in targets}
        for number in range(self.args.rounds):
            # Another order each time: a machine that slows down must not always hit the same one.
            names = list(targets)
            shift = number % len(names)
            for name in names[shift:] + names[:shift]:
                cost, rate = self.round(*targets[name])
                costs[name].append(cost)
                rates[name].append(rate)
            print(f"round {number + 1}: " + " ".join(f"{n} {costs[n][-1]:.1f}" for n in names), file=sys.stderr)
        latency = {name: [] for name in ("bare", "nginx", "none", "session")}
        for number in range(2 * self.args.rounds):
            names = list(latency)
            for name in names[number % 4 :] + names[: number % 4]:
                _, port, path = targets[name]
                latency[name].append(self.wrk(port, path, 1, 1)[1])
        for process in (bearward, logging, nginx, nginx_log, bare):
            self.end(process)
        return costs, rates, latency

    def wait_ready(self):
        # The provider's metadata are fetched in the background.
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            connection = http.client.HTTPConnection("127.0.0.1", self.home_port, timeout=5)
            connection.request("GET", "/oauth2/login", headers={"Host": f"localhost:{self.home_port}"})
            if connection.getresponse().status in (302, 303):
                return
            time.sleep(0.05)
        sys.exit("Bearward does not reach its provider")

    def memory(self):
        """Resident bytes: idle, and per idle connection that was served once."""
        # A provider with https makes Bearward hold the machine's root certificates.
        starts = {
            "bare": (self.start_bare, {}),
            "nginx": (self.start_nginx, {}),
            "bearward": (self.start_bearward, {}),
            "bearward, https provider": (self.start_bearward, {"issuer": "https://localhost:1"}),
        }
        figures = {}
        for name, (start, options) in starts.items():
            port = free_port()
            process = start(port, **options)
            time.sleep(1)
            idle = resident(process.pid)
            path = "/api/orders" if name == "bearward" else "/orders"
            head = "".join(f"{n}: {v}\r\n" for n, v in {**HEADERS, "Cookie": self.cookie}.items())
            request = f"GET {path} HTTP/1.1\r\nHost: localhost:{self.home_port}\r\n{head}\r\n".encode()
            connections = [connect(port)]
            for _ in range(200):
                ask(connections[0], request)
            before = resident(process.pid)
            for _ in range(self.args.connections):
                connections.append(connect(port))
                ask(connections[-1], request)
            time.sleep(0.5)
            each = (resident(process.pid) - before) / self.args.connections
            for connection in connections:
                connection.close()
            self.end(process)
            figures[name] = (idle, each)
        return figures

    def startup(self):
        """Seconds from exec to the first answer."""
        port = free_port()
        bare = [self.args.bin / "examples/bare_pingora", f"127.0.0.1:{port}", f"127.0.0.1:{self.upstream}"]
        commands = {
            "bare": bare,
            "bearward": self.bearward_command(port, self.issuer),
        }
        other = free_port()
        commands["bearward, https provider"] = self.bearward_command(other, "https://localhost:1")
        figures = {name: [] for name in commands}
        for _ in range(15):
            for name, command in commands.items():
                at = other if "https" in name else port
                begun = time.perf_counter()
                process = self.spawn(command)
                while True:
                    try:
                        ask(connect(at), f"GET / HTTP/1.1\r\nHost: localhost:{at}\r\n\r\n".encode())
                        break
                    except OSError:
                        time.sleep(0.0002)
                figures[name].append(time.perf_counter() - begun)
                # SIGKILL: how it stops is not measured, and a drain takes its time.
                process.kill()
                self.end(process)
        return figures

    def run(self):
        self.home_port = free_port()
        self.home = f"http://localhost:{self.home_port}"
        self.start_upstream()
        self.start_provider(self.home)
        costs, rates, latency = self.cpu()
        report(self, costs, rates, latency, self.memory(), self.startup())


def report(bench, costs, rates, latency, memory, startup):
    median = statistics.median
    names = {
        "bare": "(a) bare pingora",
        "nginx": "(b) nginx proxy_pass",
        "none": "(c) Bearward, auth: none",
        "session": "(d) Bearward, live session",
        "nginx_log": "(b) with access log",
        "none_log": "(c) with access log",
        "session_log": "(d) with access log",
    }

    def ratio(one, other):
        each = sorted(a / b for a, b in zip(costs[one], costs[other]))
        low, high = each[len(each) // 4], each[-1 - len(each) // 4]
        return f"{median(each):.2f} ({low:.2f}–{high:.2f})"

    print(f"\n{machine()}\n")
    print("| one worker, 64 connections | CPU µs per request | requests/s | ÷ bare pingora | ÷ nginx |")
    print("|---|---|---|---|---|")
    for name, title in names.items():
        print(f"| {title} | {median(costs[name]):.1f} | {median(rates[name]):,.0f} "
              f"| {ratio(name, 'bare')} | {ratio(name, 'nginx')} |")
    print(f"\n(c) with access log ÷ (b) with access log: {ratio('none_log', 'nginx_log')}, "
          f"(d): {ratio('session_log', 'nginx_log')}")
    print("Ratios are medians of the ratios of each round, with their quartiles.\n")
    print("| one connection | p50 µs | over bare pingora |\n|---|---|---|")
    for name, each in latency.items():
        extra = median(a - b for a, b in zip(each, latency["bare"]))
        print(f"| {names[name]} | {median(each):.0f} | {extra:+.0f} |")
    print("\n| | idle RSS | per idle connection | start to first answer |\n|---|---|---|---|")
    for name, (idle, each) in memory.items():
        ready = f"{median(startup[name]) * 1e3:.1f} ms" if name in startup else "–"
        print(f"| {name} | {idle / 1e6:.1f} MB | {each / 1e3:.1f} KB | {ready} |")
    if bench.args.raw:
        raw = {"costs": costs, "rates": rates, "latency": latency, "memory": memory, "startup": startup}
        Path(bench.args.raw).write_text(json.dumps(raw))


def machine():
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    return (f"{time.strftime('%Y-%m-%d %H:%M')}, commit {commit.strip()}, {os.cpu_count()} × "
            f"{model[1] if model else 'unknown CPU'}, Linux {os.uname().release}, load {load}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connect(port):
    connection = socket.create_connection(("127.0.0.1", port), 5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def ask(connection, request):
    """Sends a request and reads its whole answer, which must be a 200."""
    connection.sendall(request)
    got = b""
    while b"\r\n\r\n" not in got or len(got.split(b"\r\n\r\n", 1)[1]) < len(BODY):
        piece = connection.recv(65536)
        if not piece:
            raise OSError("closed")
        got += piece
    if not got.startswith(b"HTTP/1.1 200"):
        sys.exit(f"not a 200: {got[:300]}")


def wait_for(port):
    deadline = time.monotonic() + 10
    while True:
        try:
            return connect(port).close()
        except OSError:
            if time.monotonic() > deadline:
                sys.exit(f"nothing listens on port {port}")
            time.sleep(0.01)


def tree(pid):
    """A process and its children: nginx works in a child."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def cpu_seconds(pid):
    total = 0
    for one in tree(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def resident(pid):
    total = 0
    for one in tree(pid):
        total += int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{one}/status").read_text())[1]) * 1024
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=int, default=3, help="length of one round")
    parser.add_argument("--connections", type=int, default=2000, help="idle connections")
    parser.add_argument("--raw", help="write every single figure to this JSON file")
    args = parser.parse_args()
    args.bin = args.bin.resolve()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    bench = Bench(args)
    try:
        bench.run()
    finally:
        bench.end_all()
        shutil.rmtree(bench.dir, ignore_errors=True)


if __name__ == "__main__":
    main()
