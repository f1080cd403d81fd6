"""Unified communication servers inside: two clusters of call managers (UDS, AXL, configuration files),
presence and voicemail, as far as remote access talks to them over HTTP. fake_uc_server.py says what.

    cluster main   cucm1 (publisher, TFTP), cucm2 (TFTP), imp1, cuc1    alice, bob, carol
    cluster other  cucm3 (publisher, TFTP)                              dave
"""

import copy
import json
import pathlib
import socket
import sys
import time

from .kamailio import USERS
from .netns import end
from .topology import SERVERS

TESTS = pathlib.Path(__file__).resolve().parents[1]
AXL_USER, AXL_PASSWORD = "axl-admin", "axl-secret"
MODES = ("alive", "hang", "500", "503", "drop", "wrong-certificate", "stopped")

_ADDRESSES = {name: address for _, name, address in SERVERS}


def _node(host, cluster, roles, ports, mode="alive"):
    name = f"{host}.example.com"
    return name, {"address": _ADDRESSES[name], "cluster": cluster, "roles": roles, "ports": ports,
                  "mode": mode}


_CALL_MANAGER = {"uds": 8443, "tftp": 6970, "tftps": 6972}
_NODES = dict((
    _node("cucm1", "main", ["uds", "tftp"], _CALL_MANAGER),
    _node("cucm2", "main", ["uds", "tftp"], _CALL_MANAGER),
    _node("imp1", "main", ["presence"], {"soap": 8443}),
    _node("cuc1", "main", ["voicemail"], {"voicemail": 443, "plain": 7080}),
    _node("cucm3", "other", ["uds", "tftp"], _CALL_MANAGER),
))


class FakeUc:
    """FakeUc(lab, pki).start(). `state` is all there is to know: change it and call apply(), or use
    mode(), password(), mixed(), remove(), restore(). requests() are those since the last forget()."""

    def __init__(self, lab, pki):
        self.netns = lab.uc
        self.socket = lab.work / "fake-uc.sock"
        self.journal = lab.work / "fake-uc.jsonl"
        self.process = None
        self._control = None
        self._seen = 0
        self.state = {
            "nodes": copy.deepcopy(_NODES), "users": dict(USERS),
            "homes": {"alice": "main", "bob": "main", "carol": "main", "dave": "other"},
            "mixed": {}, "axl": [AXL_USER, AXL_PASSWORD],
            "certificates": {"good": [str(pki.cert("uc")), str(pki.key("uc"))],
                             "wrong": [str(pki.cert("uc-wrong-name")), str(pki.key("uc-wrong-name"))]},
        }

    def start(self, deadline_s=10.0):
        self.journal.touch()
        self.process = self.netns.popen(
            [sys.executable, "-m", "lab.fake_uc_server", self.socket, self.journal],
            log="fake-uc.log", cwd=TESTS)
        give_up = time.monotonic() + deadline_s
        while True:
            try:
                self._control = socket.socket(socket.AF_UNIX)
                self._control.connect(str(self.socket))
                break
            except OSError:
                self._control.close()
                if self.process.poll() is not None or time.monotonic() > give_up:
                    raise RuntimeError("fake_uc did not start, see fake-uc.log") from None
                time.sleep(0.02)
        return self.apply()

    def stop(self):
        self._control.close()
        end(self.process)

    def apply(self):
        with self._control.makefile("rwb") as lines:
            lines.write(json.dumps(self.state).encode() + b"\n")
            lines.flush()
            answer = json.loads(lines.readline())
        if "error" in answer:
            raise RuntimeError(f"fake_uc: {answer['error']}")
        return self

    def mode(self, host, mode, **more):
        """One node, or "*" for all of them; more: delay_s."""
        assert mode in MODES, mode
        for name, node in self.state["nodes"].items():
            if host in ("*", name.split(".")[0]):
                node.update(mode=mode, **more)
        return self.apply()

    def password(self, user, password):
        self.state["users"][user] = password
        return self.apply()

    def mixed(self, cluster, mixed=True):
        self.state["mixed"][cluster] = mixed
        return self.apply()

    def remove(self, host):
        """The node leaves its cluster."""
        del self.state["nodes"][f"{host}.example.com"]
        return self.apply()

    def restore(self):
        """All nodes are there and alive; passwords as at first."""
        self.state["nodes"] = copy.deepcopy(_NODES)
        self.state["users"] = dict(USERS)
        self.state["mixed"] = {}
        return self.apply()

    # -- what was asked

    def forget(self):
        self._seen = self.journal.stat().st_size

    def requests(self, **match):
        """Those since forget(); match by equal members, and `path` as the beginning of the target."""
        with open(self.journal, "rb") as file:
            file.seek(self._seen)
            rows = [json.loads(line) for line in file if line.endswith(b"\n")]
        path = match.pop("path", "")
        return [row for row in rows if row.get("target", "").startswith(path)
                and all(row.get(key) == value for key, value in match.items())]

    def authentications(self):
        """Requests that carried a password for a user of the system (AXL is not one)."""
        return [row for row in self.requests() if row.get("user") not in (None, AXL_USER)]
