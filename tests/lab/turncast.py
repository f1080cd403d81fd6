"""The cast of tests of the TURN server: the pair with it and with the API on C, nobody else inside."""

import contextlib
import json

from .pair import ADMIN_PASSWORD, Pair
from .pki import Pki
from .play import expect
from .turn_client import TurnClient
from .webclient import WebClient, basic

API_PORT = 8443
PATH = "/api/v1/turn/credentials"
BOB = ("bob", "bob-turn-secret")  # [turn-user bob]
STATIC_NAT = """
table ip static_nat {{
  chain pre {{
    type nat hook prerouting priority dstnat
    ip daddr {public} dnat to {edge}
  }}
  chain post {{
    type nat hook postrouting priority srcnat
    iifname "dmz" oifname "inet" ip saddr {edge} snat to {public}
  }}
}}
"""


class TurnCast:
    """TurnCast(lab, edge_turn="tcp-relays = yes"); the words are those of Pair."""

    def __init__(self, lab, **pair):
        self.lab = lab
        self.pki = Pki(lab.work / "pki")
        self.pair = Pair(lab, self.pki, web=True, turn=True, **pair).start()
        self.edge, self.core = self.pair.edge, self.pair.core
        self.ca = self.pki.cert("public-ca")

    def turn(self, netns=None, transport="udp", user=BOB, port=None, version=4, **more):
        """A raw client; user: (name, password)."""
        edge = self.lab.dmz
        port = port or (5349 if transport == "tls" else 3478)
        return TurnClient(netns or self.lab.inet, (edge.v6 if version == 6 else edge.v4, port), *user,
                          transport=transport, ca=self.ca, **more)

    def api(self, body, password=ADMIN_PASSWORD, netns=None, admin="guest"):
        """What C's API answers to the guest service, inside: (status, JSON)."""
        client = WebClient(netns or self.lab.web, (self.lab.lan.v4, API_PORT), self.pki.cert("pair-ca"),
                           "core1.example.com")
        try:
            answer = client.ask("POST", PATH, [
                ("Authorization", basic(admin, password)), ("Content-Type", "application/json")],
                json.dumps(body).encode())
        finally:
            client.close()
        return answer.status, json.loads(answer.body) if answer.body else {}

    def credentials(self, **more):
        status, made = self.api({"domain": "example.com", **more})
        expect(status == 200 and made["username"] and made["password"], status, made)
        return made

    def minted(self, **more):
        """(username, password) as C makes them."""
        made = self.credentials(**more)
        return made["username"], made["password"]

    def allocations(self):
        return self.edge.connections("allocation")

    def no_allocations(self, deadline_s=5.0):
        self.edge.wait(lambda: not self.allocations(), deadline_s, "end of all allocations")

    def clear(self):
        """Ends what clients left behind: uclient does not give its allocations back."""
        for row in self.allocations():
            self.edge.ctl("disconnect", row["id"])
        self.no_allocations()

    @contextlib.contextmanager
    def static_nat(self, public="203.0.113.77"):
        """Inside the block the internet knows E's relays by the address of a NAT in front of it."""
        fw, edge = self.lab.fw, self.lab.dmz.v4
        fw.run(["ip", "addr", "add", f"{public}/32", "dev", "dmz"])
        fw.run(["nft", "-f", "-"], input=STATIC_NAT.format(public=public, edge=edge))
        self.setting(relay_address=edge, public_address=public, host=public)
        try:
            yield public
        finally:
            self.setting(relay_address=None, public_address=None, host=None)
            fw.run(["nft", "delete", "table", "ip", "static_nat"])
            fw.run(["ip", "addr", "del", f"{public}/32", "dev", "dmz"])

    def setting(self, box=None, section="turn", **lines):
        """Lines of a section from now on (underscores for dashes; None takes one away), E's [turn] if not
        said otherwise."""
        box = box or self.edge

        def change(text):
            head, _, rest = text.partition(f"[{section}]\n")
            body, bracket, tail = rest.partition("\n[")
            kept = [line for line in body.splitlines()
                    if line.partition("=")[0].strip().replace("-", "_") not in lines]
            kept += [f"{key.replace('_', '-')} = {value}" for key, value in lines.items()
                     if value is not None]
            return f"{head}[{section}]\n" + "\n".join(kept) + "\n" + bracket + tail
        box.rewrite(change, reload=False)
        done = box.ctl("reload")
        expect(done.get("reloaded"), lines, done)

    def traces_of(self, code):
        """How many entries there are, and the newest."""
        found = self.edge.traces(code)
        return sum(1 + entry["repeats"] for entry in found), found

    def firewall_is_clean(self):
        """Nothing was sent inside, not even to be dropped."""
        counters = self.lab.firewall.counters()
        expect(counters["dmz_to_lan_dropped"] == 0, counters)
