#!/usr/bin/env python3
"""Two headless browsers talk through E's TURN server and nothing else: one on the internet, one behind the NAT,
with credentials that the guest service inside asked C for."""

import concurrent.futures
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.chromium import Chromium, Room
from lab.dns import Dns
from lab.play import Play, expect
from lab.turncast import TurnCast

play = Play()


class Stage(TurnCast):
    def __init__(self, lab):
        Dns(lab).start()
        super().__init__(lab, edge_turn="tls-ports = 5349 443")
        trust = self.pki.cert("edge-public")
        self.ann = Chromium(lab.inet, "ann", trust)
        self.ben = Chromium(lab.home, "ben", trust)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(Chromium.start, (self.ann, self.ben)))
        self.room = Room(self.ann, self.ben)

    def servers(self, wanted=None):
        """What the guest service hands its page: iceServers, of C's URIs those that wanted() likes."""
        made = self.credentials()
        uris = [uri for uri in made["uris"] if wanted is None or wanted(uri)]
        expect(uris, "no such URI among", made["uris"])
        return [{"urls": uris, "username": made["username"], "credential": made["password"]}]

    def meets(self, servers, protocol, relay=None):
        """Audio and video both ways, relay on both sides."""
        self.room.meet(servers)
        try:
            growth = self.room.flows()
            stats = self.room.stats()
            for side in stats:
                pair = side["pair"]
                expect(pair["local"]["type"] == "relay", pair)
                expect(pair["local"]["relayProtocol"] == protocol, pair)
                expect(pair["local"]["address"] == (relay or self.lab.dmz.v4), pair)
                expect(pair["remote"]["address"] == (relay or self.lab.dmz.v4), pair)
            # each looks at the relay of the other: E sends from relay to relay
            first, second = (side["pair"] for side in stats)
            expect(first["remote"]["port"] == second["local"]["port"], stats)
            self.listed(stats, protocol)
            return growth
        finally:
            self.room.part()

    def listed(self, stats, protocol):
        """turnpikectl turn knows both relays, and counts."""
        rows = {address: row for row in self.edge.ctl("turn")["allocations"] for address in row["relayed"]}
        for side in stats:
            local = side["pair"]["local"]
            row = rows[f"{local['address']}:{local['port']}"]
            expect(row["transport"] == protocol and row["user"].endswith("@example.com"), row)
            expect(row["rx_packets"] > 50 and row["tx_packets"] > 50, row)


@play.check
def over_udp(s):
    """turn over UDP: audio and video both ways, from relay to relay; the firewall sees port 3478 and no inside"""
    s.meets(s.servers(lambda uri: uri.startswith("turn:") and uri.endswith("udp")), "udp")
    opened = {(row["from"], row["proto"], row["port"]) for row in s.lab.firewall.flows() if row["to"] == "dmz"
              and row["from"] == "inet"}
    expect({(proto, port) for _, proto, port in opened} <= {("udp", port) for port in range(3478, 3484)}
           | {("tcp", 8443)}, opened)
    s.firewall_is_clean()
    s.no_allocations(10)


@play.check
def over_tls_only(s):
    """turns only, on 443: audio and video both ways"""
    def port_443(servers):
        servers[0]["urls"] = ["turns:edge1.example.com:443?transport=tcp"]
        return servers
    before = s.lab.firewall.flow("tcp", 443, "inet", "dmz")
    s.meets(port_443(s.servers(lambda uri: uri.startswith("turns:"))), "tls")
    row = s.lab.firewall.flow("tcp", 443, "inet", "dmz")
    expect(row and row["packets"] > (before or {"packets": 0})["packets"] + 100, row)
    s.no_allocations(10)


@play.check
def over_tcp_and_udp(s):
    """one side over TCP, the other over UDP"""
    tcp = s.servers(lambda uri: uri.startswith("turn:") and uri.endswith("tcp"))
    udp = s.servers(lambda uri: uri.startswith("turn:") and uri.endswith("udp"))
    s.room.meet((tcp, udp))
    s.room.flows()
    protocols = [side["pair"]["local"]["relayProtocol"] for side in s.room.stats()]
    s.room.part()
    expect(protocols == ["tcp", "udp"], protocols)


@play.check
def as_c_says(s):
    """all URIs of C as they are: the page gathers relays and media flows"""
    s.room.meet(s.servers())
    s.room.flows()
    s.room.part()


@play.check
def wrong_password(s):
    """another password: no relay candidate, and the browser is told 401"""
    servers = s.servers()
    servers[0]["credential"] = "guess"
    try:
        s.ann.call("begin", servers, None)
    except RuntimeError as error:
        expect("401" in str(error) and "no relay candidate" in str(error), error)
    else:
        raise AssertionError("relay candidates with a wrong password")
    finally:
        s.ann.call("end")


@play.check
def static_nat(s):
    """static NAT: both browsers have relays with the public address, and media flows between them"""
    with s.static_nat() as public:
        s.core.wait(lambda: public in s.credentials()["uris"][0], 3, "URIs with the public address")
        s.meets(s.servers(lambda uri: uri.endswith("udp")), "udp", public)


@play.check
def leaves_nothing(s):
    """the browsers leave: no allocation, no connection stays; nothing was sent inside"""
    s.ann.stop()
    s.ben.stop()
    s.no_allocations(10)
    s.edge.wait(lambda: not s.edge.connections("turn"), 10, "end of all connections")
    s.firewall_is_clean()


if __name__ == "__main__":
    sys.exit(play.run(Stage))
