#!/usr/bin/env python3
"""Clients that others wrote, coturn's own among them, at E's TURN server: UDP, TCP, TLS, IPv6, TCP relays, from
the internet and from behind the NAT, without one lost packet; with credentials of C's API."""

import concurrent.futures
import os
import pathlib
import re
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.play import Play, expect
from lab.turn_client import (ADDITIONAL_ADDRESS_FAMILY, ALTERNATE_SERVER, BINDING, CONNECTION_ATTEMPT,
                             CONNECTION_ID, ERROR, SUCCESS, TCP, XOR_MAPPED_ADDRESS, XOR_PEER_ADDRESS,
                             XOR_RELAYED_ADDRESS, TurnClient, message)
from lab.turncast import BOB, TurnCast

play = Play()
N_MESSAGES = 60
N_CLIENTS = 4


class Stage(TurnCast):
    def __init__(self, lab):
        super().__init__(lab, edge_turn="tcp-relays = yes\nstun-binding = yes\nuser-quota = 200")
        lab.inet.popen(["turnutils_peer", "-p", "3480", "-L", lab.inet.v4, "-L", lab.inet.v6],
                       log="peer.log")

    def uclient(self, netns, *args, user=BOB, host=None, peer=None, channels=False):
        """Runs turnutils_uclient; all that it sent must have come back. With -s (Send and Data) unless
        channels: its numbers go up to 0x7FFF, as of RFC 5766, and RFC 8656 knows 0x4000-0x4FFF only."""
        args = [str(arg) for arg in args] + ([] if channels else ["-s"])
        # Over TLS it takes what one record holds for one message. A box that was held up sends two in one
        # record, and the second is overlooked: slower then. And one channel in 16384 is 0x7FFF, which nobody
        # may take.
        for gap_ms in (10, 40, 160, 300, 300) if "-S" in args or channels else (10,):
            lost, text = self.try_uclient(netns, gap_ms, args, user, host, peer)
            if lost == 0:
                return
            if lost is not None:
                print(f"     uclient overlooked {lost} with {gap_ms} ms between them: {' '.join(args)}")
            elif not (channels and "channel bind: error 400" in text):
                break
        raise AssertionError(f"uclient {args} lost {lost}: {text[-1500:]}")

    def try_uclient(self, netns, gap_ms, args, user=BOB, host=None, peer=None):
        """How many of its messages did not come back, None: it did not work at all; and what it said."""
        to_peer = [] if "-y" in args or "-T" in args else ["-e", peer or self.lab.inet.v4, "-r", "3480"]
        done = netns.run(["turnutils_uclient", "-u", user[0], "-w", user[1], "-n", N_MESSAGES, "-m", N_CLIENTS, "-z",
                          gap_ms, "-l", "171", "-c", *args, *to_peer, host or self.lab.dmz.v4], check=False, timeout=60)
        text = done.stdout + done.stderr
        lost = re.findall(r"Total lost packets (-?\d+)", text)
        counts = re.findall(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)", text)
        if done.returncode or not lost or not counts or int(counts[-1][0]) != N_MESSAGES * N_CLIENTS:
            return None, text
        return max(int(lost[-1]), N_MESSAGES * N_CLIENTS - int(counts[-1][1])), text

    def together(self, *runs):
        """Several at the same time: uclient mostly waits. Each is (namespace, arguments, {more}). What overlooks
        something over TLS comes again behind the others, by itself."""
        def once(netns, args, more):
            plain = [str(arg) for arg in args] + ([] if more.get("channels") else ["-s"])
            rest = {name: value for name, value in more.items() if name != "channels"}
            return self.try_uclient(netns, 10, plain, **rest)[0] == 0
        with concurrent.futures.ThreadPoolExecutor(len(runs)) as pool:
            good = [pool.submit(once, *run) for run in runs]
        for (netns, args, more), future in zip(runs, good):
            expect(future.result() or "-S" in args or more.get("channels"), "lost or failed", args)
            if not future.result():
                self.uclient(netns, *args, **more)
        self.nothing_dropped()

    def has_legacy_channels(self):
        return any(channel["number"] > 0x4fff for row in self.edge.ctl("turn")["allocations"]
                   for channel in row["channels"])

    def nothing_dropped(self):
        """By E's own count every packet of a peer went to its client, and none was refused."""
        status = self.edge.ctl("status")["modules"]["turn"]
        for name in ("streams-dropped", "over-bandwidth", "udp-send-failed", "udp-truncated"):
            expect(status[name] == 0, name, status)


@play.check
def udp(s):
    """uclient over UDP, from the internet and from behind the NAT: nothing is lost"""
    s.together(*((netns, args, {}) for netns in (s.lab.inet, s.lab.home) for args in ((), ("-g", "-l", "1000"))))
    s.clear()


@play.check
def ports(s):
    """each of the UDP ports 3478-3483 serves"""
    for port in range(3478, 3484):
        with s.turn(port=port) as client:
            expect(client.relay()[0] == s.lab.dmz.v4, port)
            expect(client.refresh(0).kind == SUCCESS, port)


@play.check
def tcp_and_tls(s):
    """uclient over TCP and over TLS (5349, and 3478, where the first byte tells), from both places"""
    tls = ("-t", "-S", "-E", s.ca)
    s.together(*((netns, args, {}) for netns in (s.lab.inet, s.lab.home)
                 for args in (("-t",), tls, (*tls, "-p", "3478"))))
    s.clear()


@play.check
def channels(s):
    """ChannelData over UDP, TCP and TLS, sizes 0 to 1200 with all paddings, from both places: nothing is lost"""
    peer = s.lab.inet.bound_udp(s.lab.inet.v4)
    sizes = [*range(9), 171, 555, 1199, 1200]
    for netns in (s.lab.inet, s.lab.home):
        for transport in ("udp", "tcp", "tls"):
            with s.turn(netns, transport) as client:
                relay = client.relay()
                expect(client.bind(0x4000, peer.getsockname()).kind == SUCCESS, "channel")
                for size in sizes * 8:
                    client.send_channel(0x4000, bytes([size & 0xff]) * size)
                    data, source = peer.recvfrom(2000)
                    expect((len(data), source) == (size, relay), transport, size, len(data), source)
                    peer.sendto(data, relay)
                    back = client.receive()
                    expect((back.number, back.data) == (0x4000, data), transport, size, back)
                expect(client.refresh(0).kind == SUCCESS, "refresh")
    peer.close()


@play.check
def legacy_channels(s):
    """uclient as it is, with ChannelData (legacy-channels = yes), over UDP, TCP and TLS, from both places"""
    tls = ("-t", "-S", "-E", s.ca)
    s.setting(legacy_channels="yes")
    try:
        for ways in (((), ("-g", "-l", "1000")), (("-t",), ("-t", "-l", "1000")), (tls, (*tls, "-p", "3478"))):
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                runs = pool.submit(s.together, *((netns, args, {"channels": True})
                                                 for netns in (s.lab.inet, s.lab.home) for args in ways))
                s.edge.wait(s.has_legacy_channels, 5, "channels beyond those of RFC 8656")
                runs.result()
            s.clear()
        with s.turn() as client:
            client.relay()
            peer = (s.lab.inet.v4, 3480)
            expect(client.bind(0x7ffe, peer).kind == SUCCESS, "the last of RFC 5766")
            expect(client.bind(0x7fff, (peer[0], 3481)).code == 400, "reserved by RFC 5766")
            expect(client.bind(0x3fff, (peer[0], 3481)).code == 400, "no channel at all")
            s.setting(legacy_channels=None)
            expect(client.bind(0x5000, (peer[0], 3481)).code == 400, "beyond RFC 8656")
            client.send_channel(0x7ffe, b"a channel that stands stays")
            answer = client.receive()
            expect(answer.number == 0x7ffe and answer.data == b"a channel that stands stays", answer)
            expect(client.refresh(0).kind == SUCCESS, "refresh")
    finally:
        s.setting(legacy_channels=None)


@play.check
def ipv6(s):
    """IPv6: relays for IPv4 clients and for IPv6 clients, IPv4 relays for IPv6 clients, both at once"""
    v6 = s.lab.inet.v6
    s.together((s.lab.inet, ("-x",), {"peer": v6}),
               (s.lab.inet, ("-x",), {"peer": v6, "host": s.lab.dmz.v6}),
               (s.lab.inet, ("-X",), {"host": s.lab.dmz.v6}),
               (s.lab.home, ("-t", "-x"), {"peer": v6, "host": s.lab.dmz.v6}))
    # both in one allocation; uclient's -Z has the number of an old draft
    peers = [s.lab.inet.bound_udp(host) for host in (s.lab.inet.v4, v6)]
    with s.turn(s.lab.home) as client:
        relays = client.allocate((ADDITIONAL_ADDRESS_FAMILY, 2 << 24)).addresses(XOR_RELAYED_ADDRESS)
        expect([host for host, _ in relays] == [s.lab.dmz.v4, s.lab.dmz.v6], relays)
        for peer, relay in zip(peers, relays):
            expect(client.permit(peer.getsockname()[:2]).kind == SUCCESS, "permission")
            client.send(peer.getsockname()[:2], b"there")
            expect(peer.recvfrom(100)[1][:2] == relay, "from the relay of its family")
        expect(client.refresh(0).kind == SUCCESS, "refresh")
    s.clear()


@play.check
def between_clients(s):
    """clients that send to each other's relays (-y), UDP and TCP: from relay to relay of one E"""
    s.together((s.lab.inet, ("-y",), {}), (s.lab.home, ("-y", "-t"), {}))
    s.clear()


@play.check
def tcp_relays(s):
    """TCP relays (-T, RFC 6062) from both places; 2 MB both ways, plain and over TLS; peers that connect"""
    s.together((s.lab.inet, ("-T",), {}), (s.lab.home, ("-T",), {}))
    s.clear()
    listener = s.lab.inet.socket()
    listener.bind((s.lab.inet.v4, 0))
    listener.listen()
    listener.settimeout(5)
    address = listener.getsockname()
    for transport in ("tcp", "tls"):
        with s.turn(s.lab.home, transport) as client:
            relay = client.relay(transport=TCP)
            expect(client.permit(address).kind == SUCCESS, "permission")
            answer = client.connect_peer(address)
            expect(answer.kind == SUCCESS, answer)
            peer, source = listener.accept()
            expect(source == relay, source, relay)
            carry(client, answer.get(CONNECTION_ID), peer)
            peer = s.lab.inet.socket()
            peer.connect(relay)
            attempt = client.receive()
            expect(attempt.method == CONNECTION_ATTEMPT and
                   attempt.address(XOR_PEER_ADDRESS) == peer.getsockname(), attempt)
            carry(client, attempt.get(CONNECTION_ID), peer)
            expect(client.refresh(0).kind == SUCCESS, "refresh")
    listener.close()


def carry(client, ident, peer, n=2000000):
    """So many random bytes one way, then as many back, then the peer's end."""
    data, bound = client.data_connection(ident)
    expect(bound.kind == SUCCESS, bound)
    for sink, source, already in ((peer, data.sock, b""), (data.sock, peer, data.data)):
        block, came = os.urandom(n), bytearray(already)
        sender = threading.Thread(target=source.sendall, args=(block,), daemon=True)
        sink.settimeout(10)
        sender.start()
        while len(came) < n and (piece := sink.recv(65536)):
            came += piece
        expect(bytes(came) == block, f"{len(came)} of {n} bytes")
        sender.join(5)
    peer.close()
    data.data = b""
    expect(data.closed(), "the peer's end")
    data.close()


@play.check
def negative(s):
    """uclient's negative and protocol tests (-N, -R) and its extra requests (-G) find a server that goes on"""
    for flag in ("-N", "-R"):
        # some of its requests are never answered, and it waits for long: killed then
        s.lab.inet.run(["timeout", "3", "turnutils_uclient", "-u", BOB[0], "-w", BOB[1], flag, "-n", "10", "-m",
                        "2", "-z", "5", "-e", s.lab.inet.v4, "-r", "3480", s.lab.dmz.v4], check=False)
    s.uclient(s.lab.inet, "-G")
    s.clear()


@play.check
def credentials_of_the_api(s):
    """a credential of C's API works at once, over UDP from inside the NAT and over TLS; its URIs name E's ports"""
    made = s.credentials()
    expect(made["ttl"] > 0 and made["realm"], made)
    expect(any(uri.startswith("turn:edge1.example.com:34") and uri.endswith("transport=udp")
               for uri in made["uris"]), made["uris"])
    expect(any(uri.startswith("turns:") for uri in made["uris"]), made["uris"])
    user = (made["username"], made["password"])
    s.together((s.lab.home, (), {"user": user}), (s.lab.inet, ("-t", "-S", "-E", s.ca), {"user": user}))
    for bad in ((user[0], "guess"), ("nobody", BOB[1]), (f"{int(user[0].split(':')[0]) + 9}:x", user[1])):
        with s.turn(user=bad) as client:
            answer = client.allocate()
            expect(answer.code == 401, bad, answer)
    s.clear()


@play.check
def refused_by_the_api(s):
    """the API: 401 for another password, an error for a domain without guests, nothing for E's zone"""
    expect(s.api({"domain": "example.com"}, password="guess")[0] == 401, "wrong password")
    status, answer = s.api({"domain": "example.net"})
    expect(status in (403, 404) and "error" in answer, status, answer)
    status, answer = s.api({})
    expect(status == 400 and "error" in answer, status, answer)


@play.check
def integrity_of_rfc_8489(s):
    """SHA-256: the server offers it, takes it and seals its answers with it"""
    with s.turn(sha256=True) as client:
        answer = client.allocate()
        expect(answer.kind == SUCCESS, answer)
        expect(answer.get(0x001c) is not None and answer.get(0x0008) is None, answer)
        expect(client.refresh(0).kind == SUCCESS, "refresh")


@play.check
def binding(s):
    """STUN: turnutils_stunclient learns its address behind the NAT; settings no and authenticated"""
    text = s.lab.home.run(["turnutils_stunclient", s.lab.dmz.v4], check=False).stdout
    expect(s.lab.nat.v4 in text, text)
    text = s.lab.inet.run(["turnutils_natdiscovery", "-m", s.lab.dmz.v4], check=False, timeout=20).stdout
    expect("198.51.100.10" in text, text)
    with s.turn() as client:
        answer = client.ask(message(BINDING))
        expect(answer.address(XOR_MAPPED_ADDRESS) == client.address, answer)
        s.setting(stun_binding="authenticated")
        expect(client.ask(message(BINDING)).code == 401, "authenticated")
        expect(client.request(BINDING).address(XOR_MAPPED_ADDRESS) == client.address, "with credentials")
        s.setting(stun_binding="no")
        client.send_raw(message(BINDING))
        expect(client.silent() or client.waiting[0].kind == ERROR, client.waiting)
        s.setting(stun_binding="yes")


@play.check
def alternate_server(s):
    """ALTERNATE-SERVER: a full E sends clients on to another server, where uclient goes and works"""
    lab = s.lab
    realm = s.credentials()["realm"]
    other = lab.nat.popen(["turnserver", "-n", "--log-file=stdout", "--lt-cred-mech", "-u", ":".join(BOB), "-r",
                           realm, "-L", lab.nat.v4, "-p", "3479", "--no-cli", "--no-tls", "--no-dtls",
                           "--allow-loopback-peers", "--pidfile", lab.work / "turnserver.pid", "-b",
                           lab.work / "turnserver.db"], log="turnserver.log")
    s.setting(max_allocations=1, alternate_servers=f"{lab.nat.v4}:3479")
    try:
        with s.turn() as first, s.turn() as second:
            first.relay()
            answer = second.allocate()
            expect(answer.code == 300 and answer.address(ALTERNATE_SERVER) == (lab.nat.v4, 3479), answer)
            s.uclient(lab.inet)
            expect(len(s.allocations()) == 1, s.allocations())
            expect(first.refresh(0).kind == SUCCESS, "refresh")
    finally:
        s.setting(max_allocations=None, alternate_servers=None)
        other.terminate()
        other.wait()


@play.check
def static_nat(s):
    """static NAT: clients learn the public address, peers see it, and two clients of E meet by it"""
    lab = s.lab
    with s.static_nat() as public:
        s.together((lab.inet, (), {"host": public}), (lab.home, ("-t",), {"host": public}),
                   (lab.home, ("-y",), {"host": public}))
        with TurnClient(lab.inet, (public, 3478), *BOB) as client:
            expect(client.relay()[0] == public, "the relay's address")
            expect(client.refresh(0).kind == SUCCESS, "refresh")
    s.clear()


@play.check
def nothing_inside(s):
    """the firewall saw nothing that E sent inside"""
    s.firewall_is_clean()


if __name__ == "__main__":
    sys.exit(play.run(Stage))
