"""Web servers inside, as administrators list them: nginx, haproxy and apache2 as reverse proxies, each in
front of a recorder (recorder.py) that notes what THEY understood, and the recorder itself.

    web1.example.com     nginx     80, 443     /pages/ are files of its own
    web2.example.com     haproxy   80, 443
    web3.example.com     apache2   80, 443
    photos.example.com   nginx     443         NAME.jpg
    origin.example.com   recorder  80, 443     nobody in between
                                   8444 certificate of another CA, 8445 expired, 8446 another name
"""

import json
import pathlib
import sys
import time

from .netns import end
from .topology import SERVERS

TESTS = pathlib.Path(__file__).resolve().parents[1]
ADDRESS = {name.split(".")[0]: address for _, name, address in SERVERS}
BEHIND = {"nginx": 9001, "haproxy": 9002, "apache2": 9003}
FRONT = {"nginx": "web1.example.com", "haproxy": "web2.example.com", "apache2": "web3.example.com"}
PAGE = b"<!doctype html><title>inside</title><p>A page that lives inside.</p>\n"
PHOTO = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(range(256)) * 20 + b"\xff\xd9"

NGINX = """
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 8192; }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 0;
  types {{ text/html html; image/jpeg jpg; }}
  ssl_certificate {cert};
  ssl_certificate_key {key};
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  server {{
    listen {web1}:80 backlog=1024;
    listen {web1}:443 ssl backlog=1024;
    location /pages/ {{ root {folder}; }}
    location / {{
      proxy_pass http://127.0.0.1:9001;
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_buffering off;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
    }}
  }}
  server {{
    listen {photos}:443 ssl;
    root {folder}/photos;
  }}
}}
"""
HAPROXY = """
global
  maxconn 8192
  stats socket {folder}/stats.sock mode 600
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
frontend web
  bind {web2}:80
  bind {web2}:443 ssl crt {pem}
  default_backend recorder
backend recorder
  server recorder 127.0.0.1:9002
"""
APACHE = """
ServerRoot {folder}
ServerName web3.example.com
PidFile {folder}/pid
ErrorLog {folder}/error.log
User www-data
Group www-data
DefaultRuntimeDir {folder}
Mutex file:{folder}
Listen {web3}:80
Listen {web3}:443
{modules}
ThreadsPerChild 64
ServerLimit 4
MaxRequestWorkers 256
AllowEncodedSlashes NoDecode
ProxyPreserveHost On
ProxyAddHeaders Off
ProxyPass "/ws" "ws://127.0.0.1:9003/ws"
ProxyPass "/" "http://127.0.0.1:9003/" nocanon
<VirtualHost {web3}:443>
  SSLEngine on
  SSLCertificateFile {cert}
  SSLCertificateKeyFile {key}
  AllowEncodedSlashes NoDecode
  ProxyPass "/ws" "ws://127.0.0.1:9003/ws"
  ProxyPass "/" "http://127.0.0.1:9003/" nocanon
</VirtualHost>
"""
APACHE_MODULES = ("mpm_event", "authz_core", "ssl", "proxy", "proxy_http", "proxy_wstunnel",
                  "socache_shmcb")


class Origins:
    """Origins(lab, pki).start(only=("nginx",)) starts the recorder and those servers; all by default.
    requests() are those since the last forget(); on: nginx, haproxy, apache2, origin, ..."""

    def __init__(self, lab, pki):
        self.netns = lab.web
        self.folder = lab.work / "origins"
        self.journal = self.folder / "recorder.jsonl"
        self.pki = pki
        self.processes = {}
        self._seen = 0

    def start(self, only=("nginx", "haproxy", "apache2")):
        self.folder.mkdir(exist_ok=True)
        self.journal.touch()
        self.start_recorder()
        for name in only:
            folder = self.folder / name
            folder.mkdir(exist_ok=True)
            getattr(self, f"_start_{name}")(folder)
        for name in only:
            self._wait(name, FRONT[name])
        return self

    def stop(self, name):
        end(self.processes.pop(name))

    def start_recorder(self):
        good = [str(self.pki.cert("uc")), str(self.pki.key("uc"))]
        origin = ADDRESS["origin"]
        listeners = [[name, "127.0.0.1", port, None] for name, port in BEHIND.items()]
        listeners += [["origin", origin, 80, None], ["origin", origin, 443, good]]
        for port, flaw in ((8444, "foreign"), (8445, "expired"), (8446, "wrong-name")):
            name = f"uc-{flaw}"
            listeners.append([flaw, origin, port, [str(self.pki.cert(name)), str(self.pki.key(name))]])
        self.processes["recorder"] = self.netns.popen(
            [sys.executable, "-m", "lab.recorder", json.dumps(listeners), self.journal],
            log="recorder.log", cwd=TESTS)
        self._wait("recorder", "origin.example.com")

    def _start_nginx(self, folder):
        for name, content in (("pages/index.html", PAGE), ("pages/big.bin", bytes(1024) * 100),
                              *((f"photos/{user}.jpg", PHOTO) for user in ("alice", "bob", "dave"))):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        (folder / "nginx.conf").write_text(NGINX.format(**self._words(folder)))
        self.processes["nginx"] = self.netns.popen(
            ["nginx", "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"],
            log="nginx.log")

    def _start_haproxy(self, folder):
        pem = folder / "pem"
        pem.touch(0o600)
        pem.write_text(self.pki.cert("uc").read_text() + self.pki.key("uc").read_text())
        (folder / "haproxy.cfg").write_text(HAPROXY.format(pem=pem, **self._words(folder)))
        self.processes["haproxy"] = self.netns.popen(
            ["haproxy", "-db", "-f", folder / "haproxy.cfg"], log="haproxy.log")

    def _start_apache2(self, folder):
        modules = "\n".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so"
                            for name in APACHE_MODULES)
        (folder / "apache2.conf").write_text(APACHE.format(modules=modules, **self._words(folder)))
        self.processes["apache2"] = self.netns.popen(
            ["apache2", "-DFOREGROUND", "-f", folder / "apache2.conf"], log="apache2.log")

    def _words(self, folder):
        return {"folder": folder, "cert": self.pki.cert("uc"), "key": self.pki.key("uc"), **ADDRESS}

    def _wait(self, name, host, deadline_s=10.0):
        give_up = time.monotonic() + deadline_s
        while True:
            try:
                self.netns.connect((ADDRESS[host.split(".")[0]], 443), timeout=1).close()
                return
            except OSError:
                if self.processes[name].poll() is not None or time.monotonic() > give_up:
                    raise RuntimeError(f"{name} did not start, see {name}.log") from None
                time.sleep(0.02)

    # -- what was asked

    def forget(self):
        self._seen = self.journal.stat().st_size

    def rows(self):
        """Everything noted since forget(): requests, bad ones (`bad`), connections (`connected`)."""
        with open(self.journal, "rb") as file:
            file.seek(self._seen)
            return [json.loads(line) for line in file if line.endswith(b"\n")]

    def requests(self, on=None, path=""):
        return [row for row in self.rows() if "method" in row and on in (None, row["on"])
                and row["target"].startswith(path)]

    def connections(self, on=None):
        return [row for row in self.rows() if row.get("connected") and on in (None, row["on"])]


def field(row, name):
    """All values of a field in a row of requests()."""
    return [value for key, value in row["fields"] if key.lower() == name.lower()]
