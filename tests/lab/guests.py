"""Three servers of a guest service inside: nginx with a certificate that nobody signed, each in front
of a name of its own in a recorder (recorder.py), which notes what arrived and echoes WebSockets.

    guest1.example.com .. guest3.example.com     80, 443     /call, /jabberc, /call/ws (WebSocket)
"""

import json
import os
import signal
import subprocess
import sys
import time

from .netns import end
from .origin import ADDRESS, TESTS

NAMES = ("guest1", "guest2", "guest3")
PORTS = dict(zip(NAMES, (9011, 9012, 9013)))  # of the recorder

NGINX = """
daemon off;
user root;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  ssl_certificate {folder}/cert;
  ssl_certificate_key {folder}/key;
  keepalive_timeout 600s;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  server {{
    listen {address}:80;
    listen {address}:443 ssl;
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    location = /call/ws {{ proxy_pass http://127.0.0.1:{port}/ws; }}
    location = /health {{
      if (-f {folder}/sick) {{ return 503; }}
      return 204;
    }}
    location / {{ proxy_pass http://127.0.0.1:{port}; }}
  }}
}}
"""

# of E: what a guest sees; of C: where it comes from ({ca}: Guests.ca)
SITE = """
[site guest]
port = 9443
redirect-port = 9980
tls = public
target = https://guest.example.com
paths = /call /jabberc
"""
SERVERS = """
[tls guests]
ca = {ca}

[allow guest-call]
url = https://guest.example.com/call
methods = all
authentication = none
tls = guests

[allow guest-jabberc]
url = https://guest.example.com/jabberc
methods = all
authentication = none
tls = guests

[backends guest.example.com]
servers = guest1.example.com guest2.example.com guest3.example.com
health-path = /health
health-interval = 1s
health-timeout = 1s
"""


class Guests:
    """Guests(lab).start(); `ca` is a file of their three certificates, as an administrator collects
    them. stop(name) and freeze(name) are what happens to servers; start_one(name), thaw(name)."""

    def __init__(self, lab):
        self.netns = lab.web
        self.folder = lab.work / "guests"
        self.journal = self.folder / "recorder.jsonl"
        self.ca = self.folder / "ca"
        self.processes = {}
        self.recorder = None
        self._seen = 0

    def start(self):
        self.folder.mkdir()
        self.journal.touch()
        listeners = [[name, "127.0.0.1", port, None] for name, port in PORTS.items()]
        self.recorder = self.netns.popen(
            [sys.executable, "-m", "lab.recorder", json.dumps(listeners), self.journal],
            log="guests.log", cwd=TESTS)
        for name in NAMES:
            self._make(name)
        self.ca.write_text("".join((self.folder / name / "cert").read_text() for name in NAMES))
        for name in NAMES:
            self.start_one(name)
        return self

    def _make(self, name):
        folder = self.folder / name
        folder.mkdir()
        host = f"{name}.example.com"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-keyout",
                        folder / "key", "-out", folder / "cert", "-subj", f"/CN={host}",
                        "-addext", f"subjectAltName=DNS:{host}"], check=True, capture_output=True)
        (folder / "nginx.conf").write_text(
            NGINX.format(folder=folder, address=ADDRESS[name], port=PORTS[name]))

    def start_one(self, name, deadline_s=10.0):
        folder = self.folder / name
        process = self.netns.popen(
            ["nginx", "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"],
            log=f"{name}.log")
        self.processes[name] = process
        give_up = time.monotonic() + deadline_s
        while True:
            try:
                self.netns.connect((ADDRESS[name], 443), timeout=1).close()
                return
            except OSError:
                if process.poll() is not None or time.monotonic() > give_up:
                    raise RuntimeError(f"{name} did not start, see {name}.log") from None
                time.sleep(0.02)

    def stop(self, name):
        """At once, with all of its connections."""
        process = self.processes.pop(name)
        for pid in self._pids(process):
            os.kill(pid, signal.SIGKILL)
        end(process)

    def freeze(self, name):
        """The kernel takes connections for it, and nobody answers them."""
        for pid in self._pids(self.processes[name]):
            os.kill(pid, signal.SIGSTOP)

    def thaw(self, name):
        for pid in self._pids(self.processes[name]):
            os.kill(pid, signal.SIGCONT)

    def sicken(self, name, sick=True):
        """Its health page says 503, all else goes on."""
        flag = self.folder / name / "sick"
        if sick:
            flag.touch()
        else:
            flag.unlink(missing_ok=True)

    def _pids(self, process):
        """nginx and its worker; `ip netns exec` has become the nginx itself."""
        children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True,
                                  check=False).stdout.split()
        return [process.pid] + [int(pid) for pid in children]  # it must not replace them

    # -- what arrived

    def forget(self):
        self._seen = self.journal.stat().st_size

    def requests(self, on=None):
        with open(self.journal, "rb") as file:
            file.seek(self._seen)
            rows = [json.loads(line) for line in file if line.endswith(b"\n")]
        return [row for row in rows if "method" in row and on in (None, row["on"])]

    def noted(self, path):
        """Is a request for this path in a server's own log?"""
        logs = (self.folder / name / "access.log" for name in NAMES)
        return any(f" {path} HTTP/" in log.read_text() for log in logs if log.exists())

    def access_lines(self):
        """How many requests of any kind the servers themselves have seen, health questions aside."""
        n = 0
        for name in NAMES:
            log = self.folder / name / "access.log"
            n += sum("/health" not in line for line in log.read_text().splitlines()
                     ) if log.exists() else 0
        return n


