"""A headless Chromium with a camera and a microphone that are not there, in a namespace of the lab, led by
chromedriver (the WebDriver protocol, by hand). Its page is rtc_page.html, served to it on its own loopback,
because a browser hands out devices to secure origins only.
"""

import base64
import http.client
import itertools
import json
import pathlib
import shutil
import subprocess
import sys
import time

from .netns import end

HERE = pathlib.Path(__file__).resolve().parent
_ports = itertools.count(9515, 2)

ARGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic",
        "--no-first-run", "--no-default-browser-check", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-default-apps",
        "--disable-features=OptimizationHints,MediaRouter,Translate,LocalNetworkAccessChecks",
        "--use-fake-device-for-media-stream=fps=10", "--use-fake-ui-for-media-stream",
        "--autoplay-policy=no-user-gesture-required", "--window-size=320,240")


class Chromium:
    """Chromium(lab.inet, "ann", trust=pki.cert("edge-public")).start(). trust: a certificate that this
    browser takes, whoever signed it (no other one, and nothing for others)."""

    def __init__(self, netns, name, trust=None):
        self.netns = netns
        self.name = name
        self.folder = netns.work / f"chromium-{name}"
        self.port = next(_ports)
        self.trust = trust
        self.session = None
        self.processes = []

    def start(self, deadline_s=30.0):
        self.folder.mkdir(exist_ok=True)
        self.processes = [
            self.netns.popen(["chromedriver", f"--port={self.port}", "--allowed-ips=127.0.0.1"],
                             log=f"chromium-{self.name}.log"),
            self.netns.popen([sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory",
                              HERE / "pages", self.port + 1], log=f"chromium-{self.name}-page.log")]
        give_up = time.monotonic() + deadline_s
        for port in (self.port, self.port + 1):
            self._wait_listening(port, give_up)
        made = self._post("/session", {"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"binary": shutil.which("chromium"), "args": self._args()},
            "timeouts": {"script": 30000, "pageLoad": 30000}}}})
        self.session = made["sessionId"]
        self._post(f"/session/{self.session}/url",
                   {"url": f"http://localhost:{self.port + 1}/rtc_page.html"})
        return self

    def stop(self):
        """Closes the browser by its own door; what is left is ended by the lab."""
        if self.session:
            try:
                self._ask("DELETE", f"/session/{self.session}")
            except (OSError, RuntimeError, http.client.HTTPException):
                pass
            self.session = None
        for process in self.processes:
            end(process)
        self.processes = []

    def call(self, function, *args):
        """A function of the page, which may return a promise; its result."""
        return self._post(f"/session/{self.session}/execute/async", {
            "script": "const [name, args, done] = arguments;"
                      "(async () => window[name](...args))().then(v => done({v}),"
                      " e => done({error: String(e)}));",
            "args": [function, list(args)]}, unpack=True)

    def _args(self):
        args = [*ARGS, f"--user-data-dir={self.folder}"]
        if self.trust:
            args.append(f"--ignore-certificate-errors-spki-list={_spki(self.trust)}")
        return args

    def _wait_listening(self, port, give_up):
        while True:
            try:
                self.netns.connect(("127.0.0.1", port)).close()
                return
            except OSError:
                if time.monotonic() > give_up:
                    raise TimeoutError(f"{self.name}: nothing listens on {port}") from None
                time.sleep(0.05)

    def _post(self, path, body, unpack=False):
        value = self._ask("POST", path, body)
        if unpack and value is not None:
            if "error" in value:
                raise RuntimeError(f"{self.name}: {value['error']}")
            return value.get("v")
        return value

    def _ask(self, method, path, body=None):
        wire = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        wire.sock = self.netns.connect(("127.0.0.1", self.port))
        wire.sock.settimeout(60)
        try:
            wire.request(method, path, None if body is None else json.dumps(body),
                         {"Content-Type": "application/json"})
            answer = wire.getresponse()
            value = json.loads(answer.read())["value"]
        finally:
            wire.close()
        if answer.status != 200:
            raise RuntimeError(f"{self.name}: {value.get('message', value)}")
        return value


class Room:
    """Two browsers in one call, with audio and video both ways; the test carries their words."""

    def __init__(self, first, second):
        self.pages = (first, second)

    def meet(self, ice_servers):
        """ice_servers: one list for both, or one for each. Returns when both are connected."""
        if isinstance(ice_servers, list):
            ice_servers = (ice_servers, ice_servers)
        first, second = self.pages
        offer = first.call("begin", ice_servers[0], None)
        answer = second.call("begin", ice_servers[1], offer)
        first.call("accept", answer)
        for page in self.pages:
            page.call("connected")

    def stats(self):
        return [page.call("stats") for page in self.pages]

    def flows(self, deadline_s=15.0, n_frames=10, n_audio=50):
        """Waits until audio and video have grown by so much on both sides; the growth."""
        before = self.stats()
        give_up = time.monotonic() + deadline_s
        while True:
            now = self.stats()
            growth = [{key: new[key] - old[key] for key in
                       ("framesDecoded", "audioPackets", "audioEnergy")} for new, old in zip(now, before)]
            if all(side["framesDecoded"] >= n_frames and side["audioPackets"] >= n_audio
                   and side["audioEnergy"] > 0 for side in growth):
                return growth
            if time.monotonic() > give_up:
                raise AssertionError(f"no media in {deadline_s} s: {growth}, {now}")
            time.sleep(0.1)

    def part(self):
        for page in self.pages:
            page.call("end")


def _spki(path):
    """base64 of the SHA-256 of the certificate's key."""
    key = subprocess.run(["openssl", "x509", "-in", path, "-noout", "-pubkey"], capture_output=True,
                         check=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "der"], input=key,
                         capture_output=True, check=True).stdout
    done = subprocess.run(["openssl", "dgst", "-sha256", "-binary"], input=der, capture_output=True,
                          check=True)
    return base64.b64encode(done.stdout).decode()
