"""The cast of tests of the web: the pair with tunnel and edge service, call managers, web servers, DNS."""

import json
import threading
import time

from .cast import Cast
from .dns import Dns
from .fake_uc import FakeUc
from .mra_client import MraClient
from .origin import Origins
from .outgoing import Outgoing
from .pair import CLUSTERS
from .play import expect
from .webclient import BadAnswer, NoAnswer, WebClient


class WebCast(Cast):
    """origins: which web servers stand in front of the recorder. The rest is for Pair."""

    def __init__(self, lab, origins=("nginx",), **pair):
        self._origins = origins
        self.dns = self.uc = self.origins = self.outgoing = None
        super().__init__(lab, web=True, **pair)
        # what C found by itself comes to E a moment after the rest
        self.edge.wait(lambda: any(rule["automatic"] for rule in self.edge.ctl("allow")["allow"]), 20,
                       "automatic rules")

    def prepare(self):
        self.dns = Dns(self.lab).start()
        self.uc = FakeUc(self.lab, self.pki).start()
        self.origins = Origins(self.lab, self.pki).start(self._origins)
        self.outgoing = Outgoing(self.lab.lan)

    def client(self, user="alice", netns=None, password=None, signed_in=True):
        if password is None:
            password = f"{user}-secret"
        client = MraClient(self.lab, netns or self.lab.inet, user, password, self.pki.cert("public-ca"))
        if signed_in:
            client.sign_in()
        return client

    def stranger(self, timeout=15.0):
        """No cookie, no credentials."""
        return WebClient(self.lab.inet, (self.lab.dmz.v4, 8443), self.pki.cert("public-ca"),
                         timeout=timeout)

    def load(self, url, n_threads=8, user="alice"):
        return Load(self, url, n_threads, user)

    def session_row(self, box, user):
        """The sign-in of a user in the connection table of a box."""
        rows = [row for row in box.connections("signin") if row["user"].split("@")[0] == user]
        expect(len(rows) == 1, box.name, "sign-ins of", user, rows)
        return rows[0]

    def discovery(self, way, **words):
        """C finds its servers by another way from now on: static, srv or axl."""
        words = {"work": self.lab.work, "uc_sip": "no", **words}

        def change(text):
            head, _, rest = text.partition("[uc-cluster main]")
            tail = rest[rest.index("[allow "):]
            return head + CLUSTERS[way].format(**words).lstrip() + "\n" + tail

        self.core.rewrite(change)

    def nodes(self):
        """Names of the servers that C knows, with what turnpikectl says of each."""
        return self.core.ctl("uc")

    def wait_nodes(self, *hosts, absent=(), deadline_s=15.0):
        def right():
            text = json.dumps(self.nodes())
            return all(f"{host}.example.com" in text for host in hosts) and not any(
                f"{host}.example.com" in text for host in absent)
        self.core.wait(right, deadline_s, f"discovery of {hosts}")


class Load:
    """Clients that ask for one URL over and over, on connections that they keep.

        with c.load("https://...", 8) as load:
            ...
        load.failures      [(status or exception text, seconds it took)]
    """

    def __init__(self, cast, url, n_threads, user):
        self.cast = cast
        self.url = url
        self.user = user
        self.n_done = 0
        self.failures = []
        self.slowest_s = 0.0
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(n_threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join(90)

    def wait(self, n, deadline_s=120.0):
        """Until n requests are answered, whatever the answers are."""
        give_up = time.monotonic() + deadline_s
        while self.n_done < n:
            expect(any(thread.is_alive() for thread in self._threads), "nobody asks:", self.failures)
            expect(time.monotonic() < give_up, f"{self.n_done} of {n} requests in {deadline_s} s")
            time.sleep(0.02)

    def wait_more(self, n, deadline_s=60.0):
        self.wait(self.n_done + n, deadline_s)

    def _run(self):
        client = self.cast.client(self.user, signed_in=False)
        try:
            client.sign_in()
        except Exception as error:  # pylint: disable=broad-except
            self.failures.append((f"sign-in: {error}", 0))
            return
        while not self._over.is_set():
            start = time.monotonic()
            try:
                status = client.get(self.url).status
            except (NoAnswer, BadAnswer, OSError) as error:
                status = f"{type(error).__name__}: {error}"
            took = time.monotonic() - start
            with self._lock:
                self.n_done += 1
                self.slowest_s = max(self.slowest_s, took)
                if status != 200:
                    self.failures.append((status, round(took, 2)))
        client.web.close()
