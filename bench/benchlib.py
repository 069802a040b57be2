"""What the scripts of this folder share: shapes, servers, building, starting, checking.

Standard library only, Python 3.9 or newer, Linux.
"""
import contextlib
import ctypes
import dataclasses
import functools
import os
import platform
import random
import re
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
CC = shlex.split(os.environ.get("CC", "cc"))
CFLAGS = shlex.split(os.environ.get("CFLAGS", "-O2"))
HELLO = b"Hello, World!"
BODIES = {"/plaintext": HELLO, "/json": b'{"message":"Hello, World!"}'}


def say(text):
    print(text, file=sys.stderr, flush=True)


class Unavailable(Exception):
    """A server or a tool that cannot be used here; the text says what to do about it."""


# ---- shapes: what is asked, and how ---------------------------------------------------------------------------

BROWSER_HEADERS = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.7,de;q=0.3",
    "Accept-Encoding: gzip, deflate, br",
    "Referer: http://127.0.0.1/a/page/with/a/name/of/ordinary/length.html?from=search",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
    "Cookie: " + "; ".join(f"cookie{i:02d}={i * 2654435761 % 2**64:032x}" for i in range(36)),
)


@dataclass(frozen=True)
class Shape:
    name: str
    title: str
    path: str = "/plaintext"
    connections: int = 64
    depth: int = 1
    close: bool = False
    headers: tuple = ()
    body: int = 0
    file: int = 0              # bytes of the file that is at the path
    ws: int = 0                # bytes of the text messages that are echoed; by wsload only
    beside: str = ""           # the shape of tfb's that is measured in the same rounds
    rate: float = 0            # requests a second that are offered, whether answered or not; 0: as many as get answered
    varied: bool = False       # no two requests are the same; by load_fixed only
    fast_open: bool = False    # the request comes with the SYN; by hload only
    floor: tuple = ()          # what floor_epoll and floor_uring need to answer it
    half: float = 0            # requests a second, about half of what a good server answers: for p99 at half load
    bar: float = 0             # the most CPU time that a request may cost ours, in times the floor's
    p99_bar: float = 0         # the same for latencies
    p999_bar: float = 0

    @property
    def kind(self):
        """What a server has to be able to do: one of the words of Server.does."""
        return "ws" if self.ws else "file" if self.file else "echo" if self.body else "plain"

    def request(self, port):
        lines = [f"{'POST' if self.body else 'GET'} {self.path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *self.headers]
        if self.close:
            lines.append("Connection: close")
        if self.body:
            lines += ["Content-Type: application/octet-stream", f"Content-Length: {self.body}"]
        return "\r\n".join(lines + ["", ""]).encode() + self.payload()

    def payload(self):
        return bytes(ord("a") + i % 26 for i in range(self.body))

    def expected(self):
        if self.file:
            return file_bytes(self.file)
        return self.payload() if self.body else BODIES[self.path]


def file_bytes(size):
    """Of no pattern that a piece out of place could match."""
    return random.Random(size).randbytes(size)


SHAPES = {s.name: s for s in (
    Shape("plain1", "plaintext, 1 connection", connections=1, half=10000, bar=1.05),
    Shape("plain16", "plaintext, 16 connections", connections=16, half=30000, bar=1.05),
    Shape("plain64", "plaintext, 64 connections", half=40000, bar=1.05),
    Shape("plain512", "plaintext, 512 connections", connections=512, half=40000, bar=1.08),
    Shape("plain1024", "plaintext, 1024 connections", connections=1024, half=35000, bar=1.08),
    Shape("json256", "JSON, 256 connections", path="/json", connections=256, floor=("-j",), half=40000, bar=1.08),
    Shape("pipelined16", "plaintext, 16 requests a write, 256 connections", connections=256, depth=16, half=40000,
          bar=1.20),
    Shape("varied64", "plaintext with a number in the query, each request another", varied=True),
    Shape("variedpipe16", "the same, 16 requests a write, 256 connections", connections=256, depth=16, varied=True),
    Shape("close", "a connection per request, 64 at a time", close=True, floor=("-c",), half=12000, bar=1.12),
    Shape("headers2k", "plaintext with 2 KiB of request headers, 64 connections", headers=BROWSER_HEADERS, half=30000,
          bar=1.10),
    Shape("echo64k", "POST 64 KiB, echoed, 16 connections", path="/echo", connections=16, body=65536, floor=("-e",),
          half=10000, bar=1.08),
    Shape("file1m", "a file of 1 MiB, 16 connections", path="/static/1m.bin", connections=16, file=1 << 20, half=1000, bar=1.05),
    Shape("file1k", "a file of 1 KiB, 64 connections", path="/static/1k.bin", file=1 << 10, half=25000, beside="plain64"),
    Shape("ws256", "WebSocket, text messages of 125 bytes echoed, 256 connections", path="/ws", connections=256, ws=125),
    Shape("rate40k", "plaintext, 40,000 requests a second offered, 64 connections", rate=40000, p99_bar=1.3, p999_bar=1.5),
)}
DEFAULT_SHAPES = [name for name, shape in SHAPES.items() if not shape.varied]


# ---- machine and packages -------------------------------------------------------------------------------------

def output_of(command, **more):
    """What a command prints, both streams; empty when it cannot run."""
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more).stdout
    except OSError:
        return ""


def cpu_model():
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found.group(1) if found else platform.machine()


@functools.lru_cache(maxsize=None)
def commit():
    head = output_of(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]).strip()
    if not re.fullmatch(r"[0-9a-f]{7,}", head):
        return "none"
    changed = output_of(["git", "-C", str(ROOT), "status", "--porcelain", "-uno"]).strip()
    return head + (" and uncommitted changes" if changed else "")


CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")


def facts():
    """What a reader has to know to repeat a figure."""
    return [
        ("CPU", f"{cpu_model()}, {os.cpu_count()} online"),
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("congestion control", CONGESTION.read_text().strip() if CONGESTION.exists() else "?"),
        ("compiler", f"{output_of(CC + ['--version']).splitlines()[0]}, flags {' '.join(CFLAGS)}"),
        ("commit", commit()),
        ("date", time.strftime("%Y-%m-%d %H:%M:%S %Z")),
    ]


@contextlib.contextmanager
def services_stay_off():
    """Debian starts a web server as soon as it is installed, unless this file says no."""
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            policy.unlink()


def install(package):
    say(f"installing {package}")
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    apt = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
    with services_stay_off():
        subprocess.run(apt + ["update"], env=env, stdout=subprocess.DEVNULL)
        subprocess.run(apt + ["install", "-y", "--no-install-recommends", package], env=env, stdout=subprocess.DEVNULL)


def find_tool(tool):
    return shutil.which(tool) or shutil.which(tool, path="/usr/sbin:/sbin")


def need(tool, package=None, may_install=True):
    """Path of a tool; installs its Debian package when root, else says what to install."""
    package = package or tool
    if not find_tool(tool) and may_install and os.geteuid() == 0 and shutil.which("apt-get"):
        install(package)
    path = find_tool(tool)
    if not path:
        raise Unavailable(f"{tool} is missing: apt-get install {package}")
    return path


# ---- building -------------------------------------------------------------------------------------------------

class Build:
    """A temporary folder with everything that gets compiled or configured, for a with block."""

    def __init__(self, may_install=True):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))    # so that with blocks stop their servers
        self.dir = Path(tempfile.mkdtemp(prefix="chopin-bench-"))
        self.dir.chmod(0o755)          # nginx as root drops its worker's rights
        self.may_install = may_install

    def __enter__(self):
        try:
            self.need(CC[0], "gcc")
        except Unavailable as why:
            self.__exit__(Unavailable, why, None)
        return self

    def __exit__(self, kind, why, _):
        shutil.rmtree(self.dir, ignore_errors=True)
        if kind is Unavailable:
            raise SystemExit(f"bench: {why}") from None

    def need(self, tool, package=None):
        return need(tool, package, self.may_install)

    def compile(self, source, *flags):
        target = self.dir / source.stem
        if target.exists():
            return str(target)
        if not source.exists():
            raise Unavailable(f"{source.relative_to(ROOT)} does not exist")
        command = [*CC, *CFLAGS, str(source), "-o", str(target), *flags]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise Unavailable(f"{source.relative_to(ROOT)} does not build:\n{done.stdout[-2000:]}")
        return str(target)

    def tool(self, name, *flags):
        return self.compile(BENCH / f"{name}.c", *flags)

    def write(self, name, text):
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    def folder(self):
        """The folder of the file shapes, filled; its parent is the root of the peers."""
        for shape in SHAPES.values():
            path = self.dir / f"www{shape.path}"
            if shape.file and not path.exists():
                self.write(path.relative_to(self.dir), shape.expected())
        return self.dir / "www" / "static"


# ---- servers --------------------------------------------------------------------------------------------------

KINDS = ("ours", "beside", "floor", "peer")    # beside: ours in another shape, to compare with


@dataclass
class Server:
    name: str
    version: str
    command: object                      # function(shape, port): the command line as a list
    kind: str = "ours"                   # one of KINDS
    does: tuple = ("plain",)             # plain: GET /plaintext and /json; echo: POST /echo; file: GET /static/*; ws: echo at /ws
    backend: str = ""                    # epoll or uring where a server that fell back must not be measured

    def fits(self, shape):
        return shape.kind in self.does


def ours(build, example, backend):
    """The command of an example of ours, on one backend, with one worker."""
    binary = build.compile(ROOT / "examples" / f"{example}.c", "-pthread")
    return lambda shape, port: ["env", f"CHOPIN_BACKEND={backend}", binary, "--listen", f"127.0.0.1:{port}", "--workers", "1"]


def tfb(build):
    return Server("tfb", commit(), ours(build, "tfb", "epoll"), backend="epoll")


def tfb_uring(build):
    return Server("tfb_uring", commit(), ours(build, "tfb", "uring"), backend="uring")


def kitchen_sink(build):
    return Server("kitchen_sink", commit(), ours(build, "kitchen_sink", "epoll"), "ours", ("echo", "ws"), "epoll")


def kitchen_sink_uring(build):
    return Server("kitchen_sink_uring", commit(), ours(build, "kitchen_sink", "uring"), "ours", ("echo", "ws"), "uring")


def floor_words(build, shape):
    return [*shape.floor, *(["-f", f"{build.folder().parent}{shape.path}"] if shape.file else [])]


def floor_epoll(build):
    binary = build.tool("floor_epoll")
    command = lambda shape, port: [binary, "-p", str(port), *floor_words(build, shape)]
    return Server("floor_epoll", "bench/floor_epoll.c", command, "floor", ("plain", "echo", "file"))


def floor_epoll_defer(build):
    """The floor of servers that set TCP_DEFER_ACCEPT: a request is there when accept returns, so read it at once."""
    binary = build.tool("floor_epoll")
    command = lambda shape, port: [binary, "-p", str(port), "-d", "-x", *shape.floor]
    return Server("floor_epoll_defer", "bench/floor_epoll.c", command, "floor")


def floor_uring(build):
    binary = build.tool("floor_uring")
    command = lambda shape, port: [binary, "-p", str(port), *floor_words(build, shape)]
    return Server("floor_uring", "bench/floor_uring.c", command, "floor", ("plain", "file"))


def floor_uring_defer(build):
    binary = build.tool("floor_uring")
    command = lambda shape, port: [binary, "-p", str(port), "-d", *shape.floor]
    return Server("floor_uring_defer", "bench/floor_uring.c", command, "floor")


NGINX = """
{user}
daemon off;
worker_processes 1;
pid {dir}/nginx-{port}.pid;
error_log /dev/null;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    sendfile on;
    open_file_cache off;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    client_header_buffer_size 4k;
    client_body_temp_path {dir}/nginx-body;
    proxy_temp_path {dir}/nginx-proxy;
    fastcgi_temp_path {dir}/nginx-fastcgi;
    uwsgi_temp_path {dir}/nginx-uwsgi;
    scgi_temp_path {dir}/nginx-scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /plaintext {{ default_type text/plain; return 200 "Hello, World!"; }}
        location = /json {{ default_type application/json; return 200 '{{"message":"Hello, World!"}}'; }}
        location /static/ {{ root {dir}/www; }}
    }}
}}
"""

H2O = """
{user}
num-threads: 1
max-connections: 16384
error-log: /dev/null
file.etag: OFF
listen: {{ host: 127.0.0.1, port: {port} }}
hosts:
  default:
    paths:
      /plaintext: {{ file.file: "{dir}/www/plaintext", file.mime.setdefaulttype: text/plain }}
      /json: {{ file.file: "{dir}/www/json", file.mime.setdefaulttype: application/json }}
      /static: {{ file.dir: "{dir}/www/static" }}
"""

# lighttpd cannot count further than 65535 requests a connection; the generators then connect again.
LIGHTTPD = """
server.bind = "127.0.0.1"
server.port = {port}
server.document-root = "{dir}/www"
server.errorlog = "/dev/null"
server.max-fds = 20000
server.max-connections = 16384
server.listen-backlog = 4096
server.max-keep-alive-requests = 65535
server.max-keep-alive-idle = 3600
static-file.etags = "disable"
mimetype.assign = ( "json" => "application/json", "" => "text/plain" )
"""


def configure(build, name, template, port, user=""):
    for path, body in BODIES.items():
        build.write("www" + path, body)
    build.folder()
    text = template.format(port=port, dir=build.dir, user=user if os.geteuid() == 0 else "")
    return build.write(f"{name}-{port}.conf", text)


def version_of(command):
    found = re.search(r"\d+(\.\d+)+", output_of(command))
    return found.group(0) if found else "?"


def nginx(build):
    binary = build.need("nginx", "nginx-light")
    start = lambda shape, port: [binary, "-c", configure(build, "nginx", NGINX, port, "user root;"), "-e", "/dev/null"]
    return Server("nginx", version_of([binary, "-v"]), start, "peer", ("plain", "file"))


def h2o(build):
    binary = build.need("h2o")
    start = lambda shape, port: [binary, "-c", configure(build, "h2o", H2O, port, "user: root")]
    return Server("h2o", version_of([binary, "-v"]), start, "peer", ("plain", "file"))


def lighttpd(build):
    binary = build.need("lighttpd")
    start = lambda shape, port: [binary, "-D", "-f", configure(build, "lighttpd", LIGHTTPD, port)]
    return Server("lighttpd", version_of([binary, "-v"]), start, "peer", ("plain", "file"))


def library_peer(build, name, library, header=None):
    """A peer_*.c of ours on a library of Debian: the binary, and the version of the package."""
    header, package = Path(f"/usr/include/{header or name}.h"), f"{library}-dev"
    if not header.exists() and build.may_install and os.geteuid() == 0 and shutil.which("apt-get"):
        install(package)
    if not header.exists():
        raise Unavailable(f"{library} is missing: apt-get install {package}")
    version = output_of(["dpkg-query", "-W", "-f", "${Version}", package])
    return build.tool(f"peer_{name}", f"-l{library[3:]}"), version or "?"


def microhttpd(build, mode="epoll", name="microhttpd"):
    binary, version = library_peer(build, "microhttpd", "libmicrohttpd")
    return Server(name, version, lambda shape, port: [binary, str(port), mode], "peer", ("plain", "echo"))


def microhttpd_poll(build):
    return microhttpd(build, "poll", "microhttpd_poll")


def civetweb(build):
    """A thread for each connection, and some for those that connect while others close."""
    binary, version = library_peer(build, "civetweb", "libcivetweb")
    return Server("civetweb", version, lambda shape, port: [binary, str(port), str(shape.connections + 16)], "peer", ("plain", "echo"))


def lws(build, loop="poll", name="lws"):
    binary, version = library_peer(build, "lws", "libwebsockets", "libwebsockets")
    return Server(name, version, lambda shape, port: [binary, str(port), loop], "peer", ("ws",))


def lws_uv(build):
    return lws(build, "uv", "lws_uv")


NPM_WS = "8.18.3"


def npm_ws(build):
    """The npm package ws, installed into the temporary folder."""
    node, npm, folder = build.need("node", "nodejs"), build.need("npm"), build.dir / "npm"
    script = build.write("npm/peer_ws.mjs", (BENCH / "peer_ws.mjs").read_bytes())
    if not (folder / "node_modules" / "ws").exists():
        quietly = ("--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0", "--fetch-timeout=20000")
        said = output_of([npm, "install", *quietly, f"ws@{NPM_WS}"], cwd=folder)
        if not (folder / "node_modules" / "ws").exists():
            raise Unavailable(f"npm cannot install ws@{NPM_WS}: {said.strip()[-300:]}")
    version = f"{NPM_WS}, node {version_of([node, '--version'])}"
    return Server("npm_ws", version, lambda shape, port: [node, script, str(port)], "peer", ("ws",))


def tuned(build, name, backend, *words):
    """bench/tuned.c with options in words like "defer_accept=1", for the section Options of the report."""
    binary = build.tool("tuned", "-pthread")
    command = lambda shape, port: [binary, f"127.0.0.1:{port}", f"backend={backend}", *words]
    return Server(name, "bench/tuned.c", command, backend=backend)


def tuned_defer(build):
    """Ours with TCP_DEFER_ACCEPT, to stand beside servers that set it."""
    return tuned(build, "tuned_defer", "epoll", "defer_accept=1")


def tuned_uring_defer(build):
    return tuned(build, "tuned_uring_defer", "uring", "defer_accept=1")


def tuned_files(build, backend="epoll", name="tuned_files", *words):
    """Ours serving the folder of the file shapes, without the cache of descriptors: that is the default."""
    server = tuned(build, name, backend, f"files={build.folder()}", *words)
    server.does = ("file",)
    return server


def tuned_files_uring(build):
    return tuned_files(build, "uring", "tuned_files_uring")


def tuned_files_cached(build):
    return tuned_files(build, "epoll", "tuned_files_cached", "file_cache=64")


def tuned_files_cached_uring(build):
    return tuned_files(build, "uring", "tuned_files_cached_uring", "file_cache=64")


def beside(server, shape):
    """A server of ours that is measured in another shape than the others of its rounds; its name says so."""
    return dataclasses.replace(server, name=f"{server.name} {shape.name}", kind="beside")


SERVERS = {maker.__name__: maker for maker in (
    tfb, tfb_uring, kitchen_sink, kitchen_sink_uring, floor_epoll, floor_epoll_defer, floor_uring, floor_uring_defer,
    tuned_defer, tuned_uring_defer, tuned_files, tuned_files_uring, tuned_files_cached, tuned_files_cached_uring, nginx, h2o,
    lighttpd, microhttpd, microhttpd_poll, civetweb, lws, lws_uv, npm_ws)}
OURS_AND_FLOORS = ["tfb", "tfb_uring", "floor_epoll", "floor_uring"]
DEBIAN_PEERS = ["nginx", "h2o", "lighttpd", "microhttpd", "microhttpd_poll", "civetweb"]
DEFAULT_SERVERS = OURS_AND_FLOORS + DEBIAN_PEERS
# What a kind of shape needs beyond them: ours, and peers that serve nothing else.
OURS_FOR = {"echo": ["kitchen_sink", "kitchen_sink_uring"], "ws": ["kitchen_sink", "kitchen_sink_uring"],
            "file": ["tuned_files", "tuned_files_uring", "tuned_files_cached", "tuned_files_cached_uring"]}
PEERS_FOR = {"ws": ["lws", "lws_uv", "npm_ws"]}


def extra_server(build, text, kind):
    """A server given on the command line as "name=command with {port}"; {build} is the temporary folder, {files} that of the
    file shapes. What it cannot do the check finds out."""
    name, sign, template = text.partition("=")
    if not sign or "{port}" not in template:
        raise SystemExit(f'--peers and --variants want "name=command with {{port}}", not "{text}"')
    expand = lambda shape, port: [w.format(port=port, build=build.dir, files=build.folder()) for w in shlex.split(template)]
    return Server(name, "from the command line", expand, kind, ("plain", "echo", "file", "ws"))


def split_peers(text):
    """What make's PEERS holds: one server as it is, or several, each in quotes."""
    words = shlex.split(text)
    several = all(re.match(r"[\w.-]+=.*\{port\}", word) for word in words)
    return words if several else [text]


def make_servers(build, names, peers=(), variants=()):
    servers = [extra_server(build, text, "peer") for text in peers]
    servers += [extra_server(build, text, "ours") for text in variants]
    for name in names:
        if name not in SERVERS:
            raise SystemExit(f"no server called {name}; there are: {', '.join(SERVERS)}")
        try:
            servers.append(SERVERS[name](build))
        except Unavailable as why:
            say(f"skipping {name}: {why}")
    return sorted(servers, key=lambda s: KINDS.index(s.kind))


# ---- running one ----------------------------------------------------------------------------------------------

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def family(pid):
    """A process and everything it started."""
    pids = [pid]
    for parent in pids:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                pids += map(int, children.read_text().split())
    return pids


def cpu_ns(pid):
    """Nanoseconds of CPU used so far by all threads of a process and of its children, kernel included."""
    total = 0
    for member in family(pid):
        for stat in Path(f"/proc/{member}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                total += int(stat.read_text().split()[0])
    return total


class Running:
    """A started server. Stops it, and only it, at the end of a with block."""

    def __init__(self, server, shape, cpu, prefix=(), patience=10):
        self.server, self.shape, self.port = server, shape, free_port()
        self.command = [*prefix, *server.command(shape, self.port)]
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(["taskset", "-c", str(cpu), *self.command], stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log, start_new_session=True, preexec_fn=raise_fd_limit)
        self.pid = self.process.pid
        self.wait_until_listening(patience)

    def wait_until_listening(self, patience):
        end = time.monotonic() + patience
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.02)
        self.stop()
        self.log.seek(0)
        raise Unavailable(f"{self.server.name} did not start: {' '.join(self.command)}\n{self.log.read()[-1000:]}")

    def stop(self, patience=10):
        """Asks it to end; kills what is left of its session afterwards."""
        if self.process.poll() is None:
            self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(patience)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.log.close()


def raise_fd_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def fixed_load(build, running, requests, cpu):
    """Exactly that many requests by load_fixed; returns how many it sent, which are whole rounds."""
    shape = running.shape
    command = [build.tool("load_fixed"), "-p", str(running.port), "-u", shape.path, "-c", str(shape.connections),
               "-P", str(shape.depth), "-n", str(requests), *(["-x"] if shape.close else []), *(["-v"] if shape.varied else [])]
    done = subprocess.run(["taskset", "-c", str(cpu), *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise Bad(done.stderr.strip())
    return int(done.stdout)


def markdown(head, rows, words=1):
    """A table whose first `words` columns are text and whose others are figures."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * words + "---:|" * (len(head) - words)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


# ---- checking replies -----------------------------------------------------------------------------------------

class Bad(Exception):
    """A reply that is not what the shape asks for."""


def read_reply(stream):
    """One reply as (head, body)."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            raise Bad("the connection closed inside a head" if head else "the connection closed")
        head += line
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
    if not length:
        raise Bad("no Content-Length")
    return head, stream.read(int(length.group(1)))


def check_reply(shape, head, body):
    if not re.match(rb"HTTP/1\.1 200\b", head):
        raise Bad("status line " + head.split(b"\r\n")[0].decode("latin-1"))
    if body != shape.expected():
        raise Bad(f"another body: {body[:60]!r}")
    wanted = [] if shape.body else [b"server", b"date", b"content-type"]
    for name in wanted:
        if not re.search(rb"\r\n" + name + rb":", head, re.I):
            raise Bad(f"no {name.decode()} header")
    if not shape.close and re.search(rb"\r\nconnection: *close", head, re.I):
        raise Bad("it closes the connection")


def check_http(running, s):
    """Asks as the shape does. Returns the bytes of a reply."""
    shape = running.shape
    with s.makefile("rb") as stream:
        s.sendall(shape.request(running.port) * shape.depth)
        for _ in range(shape.depth):
            head, body = read_reply(stream)
            check_reply(shape, head, body)
        if shape.close and stream.read(1):
            raise Bad("bytes after the reply")
    return len(head) + len(body)


def check_ws(running, s):
    """The RFC's own handshake, then one message. Returns the bytes of the frame that comes back."""
    shape = running.shape
    ask = (f"GET {shape.path} HTTP/1.1", f"Host: 127.0.0.1:{running.port}", "Upgrade: websocket", "Connection: Upgrade",
           "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", "")
    message = bytes(ord("a") + i % 26 for i in range(shape.ws))
    key = b"\x37\xfa\x21\x3d"
    with s.makefile("rb") as stream:
        s.sendall("\r\n".join(ask).encode())
        head = b"".join(iter(stream.readline, b"\r\n"))
        if not head.startswith(b"HTTP/1.1 101") or b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" not in head:
            raise Bad(f"no handshake: {head[:60]!r}")
        s.sendall(bytes((0x81, 0x80 | shape.ws)) + key + bytes(b ^ key[i % 4] for i, b in enumerate(message)))
        if stream.read(2 + shape.ws) != bytes((0x81, shape.ws)) + message:
            raise Bad("not the same message")
    return 2 + shape.ws


def check(running):
    """Asks once in the manner of the shape. Returns reply bytes and socket options, or raises Bad."""
    shape = running.shape
    try:
        with socket.create_connection(("127.0.0.1", running.port), 5) as s:
            reply_bytes = (check_ws if shape.ws else check_http)(running, s)
            options = {} if shape.close else socket_options(running, s.getsockname()[1])
    except OSError as why:
        raise Bad(str(why)) from None
    options.update(defer_accept=defer_accept(running), backend=backend_of(running))
    if running.server.backend not in ("", options["backend"]):
        raise Bad(f"it fell back to {options['backend']}")
    return reply_bytes, options


# ---- the server's backend and socket options, read from outside -------------------------------------------------

def open_files(running):
    """What the descriptors of a server and its children point to, as (pid, path in /proc, target)."""
    for pid in family(running.pid):
        for fd in Path(f"/proc/{pid}/fd").glob("*"):
            with contextlib.suppress(OSError):
                yield pid, fd, os.readlink(fd)


def backend_of(running):
    return "uring" if any("[io_uring]" in target for _, _, target in open_files(running)) else "epoll"


def socket_inode(local_port, remote_port):
    """Inode of the socket between two ports, the listener when remote_port is 0."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        f = line.split()
        if int(f[1].split(":")[1], 16) == local_port and int(f[2].split(":")[1], 16) == remote_port:
            return f[9]
    return None


def borrow_socket(running, remote_port):
    """A duplicate of the server's own socket (pidfd_getfd, Linux 5.6); None where that is not allowed."""
    wanted = f"socket:[{socket_inode(running.port, remote_port)}]"
    for pid, fd, target in open_files(running):
        if target == wanted:
            pidfd = os.pidfd_open(pid)
            copy = ctypes.CDLL(None, use_errno=True).syscall(438, pidfd, int(fd.name), 0)
            os.close(pidfd)
            return socket.socket(fileno=copy) if copy >= 0 else None
    return None


def option_of(running, remote_port, option):
    """An option's value, None when it cannot be read."""
    with contextlib.suppress(OSError):
        s = borrow_socket(running, remote_port)
        if s:
            with s:
                return s.getsockopt(socket.IPPROTO_TCP, option)
    return None


def defer_accept(running):
    return option_of(running, 0, socket.TCP_DEFER_ACCEPT)


def socket_options(running, client_port):
    return {"nodelay": option_of(running, client_port, socket.TCP_NODELAY)}
