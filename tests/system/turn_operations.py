#!/usr/bin/env python3
"""What operators do with the TURN server while clients use it: look, disconnect, reload; and how secrets of C
come and go. No password and no secret is anywhere to be read."""

import base64
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.pair import ADMIN_PASSWORD, build
from lab.play import Play, expect
from lab.turn_client import DATA_ATTR, SUCCESS, TCP, ChannelData, minted
from lab.turncast import BOB, TurnCast

play = Play()
SECRET = "shared-rest-secret"


class Stage(TurnCast):
    def __init__(self, lab):
        super().__init__(lab, edge_turn=f"tcp-relays = yes\nsecret = {SECRET}")
        self.passwords = {BOB[1], SECRET, ADMIN_PASSWORD}
        self.peer = lab.inet.bound_udp(lab.inet.v4, timeout=2.0)
        self.peer_address = self.peer.getsockname()

    def minted(self, **more):
        user = super().minted(**more)
        self.passwords.add(user[1])
        return user

    def ready(self, **how):
        """A client with a channel to the peer: (client, relay)."""
        client = self.turn(**how)
        relay = client.relay()
        expect(client.bind(0x4001, self.peer_address).kind == SUCCESS, "channel")
        return client, relay

    def echo(self, client, data=b"there"):
        client.send_channel(0x4001, data)
        got, source = self.peer.recvfrom(2000)
        while got != data:  # of a check before
            got, source = self.peer.recvfrom(2000)
        self.peer.sendto(got, source)
        answer = client.receive()
        expect(isinstance(answer, ChannelData) and answer.data == data, answer)

    def lets_in(self, user, within_s=1.0):
        """E knows the credential within a second."""
        give_up = time.monotonic() + within_s
        while True:
            with self.turn(user=user) as client:
                answer = client.allocate()
                if answer.kind == SUCCESS:
                    expect(client.refresh(0).kind == SUCCESS, "refresh")
                    return
            expect(time.monotonic() < give_up, "not let in within", within_s, "s:", answer)
            time.sleep(0.02)

    def row(self, client):
        host, port = client.address
        rows = [row for row in self.edge.ctl("turn")["allocations"] if row["client"] == f"{host}:{port}"]
        expect(len(rows) == 1, rows)
        return rows[0]


@play.check
def listing(s):
    """turnpikectl turn has client, user, relay, permissions, channels and counters, live; turn ID the details"""
    user = s.minted(user="visitor-17")
    client, relay = s.ready(user=user)
    row = s.row(client)
    expect(row["user"] == "visitor-17@example.com" and row["relayed"] == [f"{relay[0]}:{relay[1]}"], row)
    expect([c["number"] for c in row["channels"]] == [0x4001], row)
    expect(row["channels"][0]["peer"] == "%s:%d" % s.peer_address, row)
    expect([p["peer"] for p in row["permissions"]] == [s.peer_address[0]], row)
    expect(590 <= row["left"] <= 600, row)
    for _ in range(10):
        s.echo(client, bytes(100))
    later = s.row(client)
    expect(later["rx_packets"] == row["rx_packets"] + 10 and later["tx_packets"] == row["tx_packets"] + 10, later)
    expect(later["rx_bytes"] >= row["rx_bytes"] + 1000, later)
    expect(client.permit((s.lab.nat.v4, 0)).kind == SUCCESS, "permission")
    expect(len(s.row(client)["permissions"]) == 2, "live permissions")
    text = s.edge.text("turn")
    expect("visitor-17@example.com" in text and f"{relay[0]}:{relay[1]}" in text, text)
    text = s.edge.text("turn", row["id"])
    expect(("0x4001" in text.lower() or "16385" in text) and s.lab.nat.v4 in text, text)
    stream, _ = s.ready(transport="tls")
    expect(s.row(stream)["transport"] == "tls", s.row(stream))
    expect(client.refresh(0).kind == stream.refresh(0).kind == SUCCESS, "refresh")
    client.close()
    stream.close()
    s.no_allocations()


@play.check
def counters(s):
    """its counters are what the client counted, to the byte: channels, Send and Data, over UDP, TCP, TLS; strangers"""
    sizes = [1, 3, 20, 160, 172, 1000, 1200]
    stranger = s.lab.nat.bound_udp(s.lab.nat.v4)
    for transport in ("udp", "tcp", "tls"):
        client, relay = s.ready(transport=transport)
        n = n_bytes = 0
        for size in sizes * 3:
            s.echo(client, bytes([n]) * size)
            n, n_bytes = n + 1, n_bytes + size
        other = s.lab.inet.bound_udp(s.lab.inet.v4, timeout=2.0)
        for size in sizes * 2:
            # a permission by its address, and no channel
            client.send(other.getsockname(), bytes([n]) * size)
            data, source = other.recvfrom(2000)
            other.sendto(data, source)
            back = client.receive()
            expect(back.get(DATA_ATTR) == data and len(data) == size, back)
            n, n_bytes = n + 1, n_bytes + size
        other.close()
        row = s.row(client)
        found = [row[key] for key in ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes", "dropped", "no_permission")]
        expect(found == [n, n_bytes, n, n_bytes, 0, 0], transport, "client:", n, n_bytes, "turnpikectl:", found)
        for _ in range(7):
            stranger.sendto(b"let me in", relay)
        s.edge.wait(lambda c=client: s.row(c)["no_permission"] == 7, 3, "seven packets without permission")
        row = s.row(client)
        expect((row["tx_packets"], row["tx_bytes"], row["dropped"]) == (n, n_bytes, 7), row)
        text = s.edge.text("turn", row["id"])
        for line in (f"rx_packets: {n}", f"rx_bytes: {n_bytes}", f"tx_packets: {n}", f"tx_bytes: {n_bytes}",
                     "no_permission: 7"):
            expect(line in text, line, "is not in", text)
        expect(client.refresh(0).kind == SUCCESS, "refresh")
        client.close()
    stranger.close()
    s.no_allocations()


@play.check
def refusals(s):
    """the trace names who was refused, the peer and the rule"""
    s.clear()
    with s.turn() as client:
        client.relay()
        for host, rule in (("10.20.0.10", "private"), ("127.0.0.1", "own address"), ("169.254.169.254", "link-local")):
            expect(client.bind(0x4001, (host, 80)).code == 403, host)
            entry = s.edge.traces("turn.peer.denied")[0]
            expect(host in entry["text"] and rule in (entry["decided_by"] + entry["text"]), entry)
        expect(client.refresh(0).kind == SUCCESS, "refresh")
    with s.turn(user=("bob", "guess")) as client:
        expect(client.allocate().code == 401, "wrong password")
        expect("bob" in s.edge.traces("turn.auth.failed")[0]["text"], s.edge.traces("turn.auth"))


@play.check
def disconnects(s):
    """disconnect ID ends the allocation: the relay is closed, the list is empty, a TCP client is cut off"""
    s.clear()
    client, relay = s.ready()
    s.edge.ctl("disconnect", s.row(client)["id"])
    s.no_allocations(2)
    s.peer.sendto(b"late", relay)
    client.send_channel(0x4001, b"late")
    expect(client.silent(0.3), client.waiting)
    expect(client.refresh().code == 437, "the allocation is still known")
    expect(client.allocate().kind == SUCCESS and client.refresh(0).kind == SUCCESS, "a new one")
    client.close()
    for transport in ("tcp", "tls"):
        client, _ = s.ready(transport=transport)
        s.edge.ctl("disconnect", s.row(client)["id"])
        expect(client.closed(3), transport, "connection stays")
        client.close()
    with s.turn(transport="tcp") as client:
        listener = s.lab.inet.socket()
        listener.bind((s.lab.inet.v4, 0))
        listener.listen()
        client.relay(transport=TCP)
        expect(client.permit(listener.getsockname()).kind == SUCCESS, "permission")
        expect(client.connect_peer(listener.getsockname()).kind == SUCCESS, "Connect")
        s.edge.ctl("disconnect", s.row(client)["id"])
        peer, _ = listener.accept()
        peer.settimeout(3)
        try:
            expect(peer.recv(10) == b"", "the peer's connection stays")
        except ConnectionResetError:
            pass
        peer.close()
        listener.close()
    s.no_allocations(2)
    ended = [row for row in s.edge.connections("allocation", ended=True)]
    expect(ended and all(row["reason"] for row in ended), ended)


@play.check
def reloads(s):
    """20 reloads under way: no allocation ends, no packet is lost; a user who is taken out loses his at once"""
    s.clear()
    client, _ = s.ready()
    stream, _ = s.ready(transport="tls", user=s.minted())
    over = threading.Event()
    failures = []

    def reload():
        try:
            while not over.is_set():
                expect(s.edge.ctl("reload").get("reloaded"), "reload")
        except Exception as error:
            failures.append(error)
    thread = threading.Thread(target=reload)
    thread.start()
    try:
        start, n = time.monotonic(), 0
        while time.monotonic() < start + (2 if n > 20 else 60):
            s.echo(client)
            s.echo(stream)
            n += 1
    finally:
        over.set()
        thread.join()
    expect(not failures and n > 20, failures, n)
    s.setting(max_lifetime="30m", tls_ports="5349 443")
    s.echo(client)
    s.echo(stream)
    s.setting(max_lifetime=None, tls_ports=None)
    s.passwords.add("another-turn-secret")
    s.setting(section="turn-user bob", password="another-turn-secret")
    try:
        s.edge.wait(lambda: len(s.allocations()) == 1, 2, "end of bob's allocation")
        s.echo(stream)
    finally:
        s.setting(section="turn-user bob", password=BOB[1])
    s.lets_in(BOB)
    stream.close()
    client.close()
    s.no_allocations()


@play.check
def near_limits(s):
    """alarms: allocations and relay ports near their limit, and gone when there is room again"""
    s.clear()
    s.setting(max_allocations=10)
    clients = [s.turn() for _ in range(10)]
    for client in clients:
        client.relay()
    s.edge.wait(lambda: s.edge.alarms("turn-allocations"), 5, "alarm turn-allocations")
    with s.turn() as more:
        expect(more.allocate().code == 508, "the eleventh")
    expect("max-allocations" in str(s.edge.traces("turn.capacity")[0]), s.edge.traces("turn.capacity"))
    for client in clients:
        expect(client.refresh(0).kind == SUCCESS, "refresh")
    s.edge.wait(lambda: not s.edge.alarms("turn-allocations"), 5, "end of the alarm")
    s.setting(max_allocations=None, relay_ports="24000-24009")
    for client in clients:
        client.relay()
    s.edge.wait(lambda: s.edge.alarms("turn-ports"), 5, "alarm turn-ports")
    for client in clients:
        expect(client.refresh(0).kind == SUCCESS, "refresh")
        client.close()
    s.edge.wait(lambda: not s.edge.alarms("turn-ports"), 5, "end of the alarm")
    s.setting(relay_ports=None)


@play.check
def quotas(s):
    """quota and bandwidth of one user: 486 and dropped packets, with any of his credentials; others are not touched"""
    s.clear()
    s.setting(user_quota=2, user_bandwidth=20000)
    users = [s.minted(user="greedy") for _ in range(3)]
    clients = [s.turn(user=user) for user in users]
    expect([client.allocate().code for client in clients] == [0, 0, 486], "quota")
    greedy = clients[0]
    expect(greedy.bind(0x4001, s.peer_address).kind == SUCCESS, "channel")
    for _ in range(100):
        greedy.send_channel(0x4001, bytes(1000))
    s.edge.wait(lambda: s.row(greedy)["over_bandwidth"] > 50, 3, "packets over the bandwidth")
    other, _ = s.ready()
    s.peer.setblocking(False)
    try:
        while s.peer.recv(2000):  # what was let through
            pass
    except BlockingIOError:
        pass
    s.peer.settimeout(2)
    s.echo(other)
    for client in (*clients[:2], other):
        expect(client.refresh(0).kind == SUCCESS, "refresh")
    for client in (*clients, other):
        client.close()
    s.setting(user_quota=None, user_bandwidth=None)


@play.check
def secrets(s):
    """a secret of C is known to E within a second: after a rotation too, where the old one goes on; what other tools mint works"""
    s.clear()
    first = s.minted()
    s.lets_in(first)
    s.setting(s.core, credential_ttl="7h")
    second = s.minted()
    s.lets_in(second)
    s.lets_in(first, 0)
    s.lets_in(minted(SECRET, "tool"))
    with s.turn(user=minted("another-secret", "tool")) as client:
        expect(client.allocate().code == 401, "a foreign secret")
    with s.turn(user=minted(SECRET, "tool", ttl=-5)) as client:
        expect(client.allocate().code == 401, "expired")
    s.setting(s.core, credential_ttl="8h")


@play.check
def expiry(s):
    """a credential of 2 s lets in at once, and no more after them; the allocation made with it goes on"""
    s.clear()
    user = s.minted(ttl=2)
    client, _ = s.ready(user=user)
    give_up = time.monotonic() + 8
    while True:
        with s.turn(user=user) as late:
            if late.allocate().code == 401:
                break
            expect(late.refresh(0).kind == SUCCESS, "refresh")
        expect(time.monotonic() < give_up, "it works for ever")
        time.sleep(0.2)
    s.echo(client)
    expect(client.refresh(600).kind == SUCCESS, "refresh")
    s.echo(client)
    expect(client.refresh(0).kind == SUCCESS, "refresh")
    client.close()


@play.check
def core_restarts(s):
    """C restarts: new credentials work within a second of the tunnel; allocations made before go on all the while"""
    s.clear()
    client, _ = s.ready(user=s.minted())
    s.core.stop()
    s.echo(client)
    expect(client.refresh(600).kind == SUCCESS, "refresh without C")
    s.lets_in(BOB)
    s.core.start()
    s.pair.wait_link()
    s.core.wait(lambda: s.api({"domain": "example.com"})[0] == 200, 10, "the API")
    s.lets_in(s.minted())
    s.echo(client)
    expect(client.refresh(0).kind == SUCCESS, "refresh")
    client.close()


@play.check
def no_edge(s):
    """E away: the API says 503 and tries nothing; back, credentials work"""
    s.edge.stop()
    s.core.wait(lambda: s.api({"domain": "example.com"})[0] == 503, 15, "503 of the API")
    s.edge.start()
    s.pair.wait_link(20)
    s.core.wait(lambda: s.api({"domain": "example.com"})[0] == 200, 5, "the API")
    s.lets_in(s.minted())


@play.check
def nothing_told(s):
    """no password and no secret in any log, list, trace or dump of either box"""
    made = s.credentials()
    s.passwords.add(made["password"])
    places = {}
    for box in (s.edge, s.core):
        places[f"{box.name} log"] = box.log_text()
        for words in (["turn"], ["connections"], ["connections", "--ended"], ["trace"], ["status"], ["alarms"]):
            places[f"{box.name} {words}"] = str(box.ctl(*words, check=False)) + box.text(*words)
        done = box.netns.run([build() / "turnpiked", "-c", box.ini, "--dump-config"], check=False)
        places[f"{box.name} dump"] = done.stdout + done.stderr
        expect("[turn]" in done.stdout, done.stdout[-500:], done.stderr)
    for place, text in places.items():
        for secret in s.passwords:
            encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
            expect(secret not in text and encoded not in text, "a password is in", place)
    s.firewall_is_clean()


if __name__ == "__main__":
    sys.exit(play.run(Stage))
