"""Somebody who took E over: has its SSH key, is dialled by C, and asks C for what no edge would."""

import json
import pathlib
import socket
import time

from .netns import end

TESTS = pathlib.Path(__file__).resolve().parents[1]


class EdgeDouble:
    """EdgeDouble(lab, pki).start(), in the place of E."""

    def __init__(self, lab, pki, key="edge-ssh"):
        self.netns = lab.dmz
        self.socket = lab.work / "edge-double.sock"
        self.key = pki.ssh_key(key)
        self.process = None
        self._orders = None

    def start(self, deadline_s=15.0):
        self.process = self.netns.popen(
            ["/usr/bin/python3", "-m", "lab.edge_double_server", self.netns.v4, 2222, self.key,
             self.socket], log="edge-double.log", cwd=TESTS)
        give_up = time.monotonic() + deadline_s
        while True:
            self._orders = socket.socket(socket.AF_UNIX)
            try:
                self._orders.connect(str(self.socket))
                return self
            except OSError:
                self._orders.close()
                if self.process.poll() is not None or time.monotonic() > give_up:
                    raise RuntimeError("edge_double did not start, see edge-double.log") from None
                time.sleep(0.05)

    def stop(self):
        self._orders.close()
        end(self.process)

    def order(self, **order):
        with self._orders.makefile("rwb") as lines:
            lines.write(json.dumps(order).encode() + b"\n")
            lines.flush()
            return json.loads(lines.readline())

    def state(self):
        return self.order(do="state")

    def wait_dialled(self, n=2, deadline_s=20.0):
        give_up = time.monotonic() + deadline_s
        while (state := self.state())["connections"] < n:
            if time.monotonic() > give_up:
                raise TimeoutError(f"C does not dial: {state}")
            time.sleep(0.05)
        return self

    def exchange(self, purpose, data=b"", port=0, seconds=5):
        """Open a stream and say something: {opened, error} or {opened, closed, received}."""
        answer = self.order(do="exchange", purpose=purpose, port=port, send=data.hex(), seconds=seconds)
        if "received" in answer:
            answer["received"] = bytes.fromhex(answer["received"])
        return answer

    def ask(self, method, target, session=None, fields=(), body=b"", host=None, seconds=5):
        """An HTTP request as E sends them; the status, 0 without an answer, -1 when not even opened."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host or target.split('/')[2]}",
                 "Turnpike-Client: 198.51.100.10:4711", "Connection: close"]
        if session:
            lines.append(f"Turnpike-Session: {session}")
        lines += [f"{name}: {value}" for name, value in fields]
        data = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
        answer = self.exchange("http", data, seconds=seconds)
        if not answer.get("opened"):
            return -1, b""
        received = answer["received"]
        return (int(received.split()[1]) if received.startswith(b"HTTP/1.1 ") else 0), received

    def call(self, method, params):
        return self.order(do="call", method=method, params=params)
