#!/usr/bin/env python3
"""What attackers do to TURN servers, on the wire; every check begins with its row of the checklists: T is
"SIP, media and TURN attacks", F is "Faults and abuse"."""

import ipaddress
import pathlib
import random
import socket
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.play import Play, expect
from lab.stranger import Stranger
from lab.turn_client import (ADDITIONAL_ADDRESS_FAMILY, ALLOCATE, BINDING, CHANNEL_NUMBER, CREATE_PERMISSION,
                             DATA_ATTR, LIFETIME, MESSAGE_INTEGRITY, NONCE, REALM, REFRESH,
                             REQUESTED_TRANSPORT, RESERVATION_TOKEN, SEND, SUCCESS, TCP, USERNAME,
                             XOR_PEER_ADDRESS, ChannelData, INDICATION, Silence, message)
from lab.turncast import BOB, TurnCast

play = Play()
TRAP_PORT = 7  # on every address of E
N_SPOOFED = 100000
N_SLOW = 300
LOOPBACK4 = ["127.0.0.1", "127.1.2.3", "127.255.255.254", "0.0.0.0", "0.1.2.3"]
INSIDE4 = ["10.20.0.10", "10.20.0.20", "192.168.1.10", "172.16.0.1", "172.31.255.254", "100.64.0.1"]
OTHER4 = ["169.254.169.254", "224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1"]
PLAIN6 = ["::", "::1", "fe80::1", "fc00::1", "fd00:20::10", "ff02::1", "ff0e::1"]


def encodings(host):
    """An IPv4 address in the IPv6 addresses that may carry it."""
    a = ipaddress.IPv4Address(host)
    n, packed = int(a), a.packed
    swapped = bytes(255 - b for b in packed)

    def v6(text_or_bytes):
        return str(ipaddress.IPv6Address(text_or_bytes))
    return [
        v6(b"\0" * 10 + b"\xff\xff" + packed),  # mapped
        v6(b"\0" * 12 + packed),  # compatible
        v6(b"\0" * 8 + b"\xff\xff\0\0" + packed),  # translated (SIIT)
        v6(b"\x20\x02" + packed + b"\0" * 10),  # 6to4
        v6(b"\x20\x02" + packed + b"\0" * 9 + b"\x01"),
        v6(int(ipaddress.IPv6Address("64:ff9b::")) + n),  # NAT64
        v6(int(ipaddress.IPv6Address("64:ff9b:1::")) + n),  # NAT64 of one's own
        v6(b"\x20\x01\0\0" + b"\x01" * 8 + swapped),  # Teredo client
        v6(b"\x20\x01\0\0" + packed + b"\x01" * 4 + b"\xfe" * 4),  # Teredo server
        v6(b"\x20\x01\x0d\xb8\0\1\0\0" + b"\0\0\x5e\xfe" + packed),  # ISATAP
        v6(b"\x20\x01\x0d\xb8\0\1\0\0" + b"\x02\0\x5e\xfe" + packed),
    ]


class Stage(TurnCast):
    """Traps stand on every address of E; nothing may ever fall into them."""

    def __init__(self, lab):
        super().__init__(lab, edge_turn="tcp-relays = yes\nidle-timeout = 3s\nhandshake-timeout = 2s\n"
                                        "stun-binding = yes")
        self.traps = [_trap(lab.dmz, family, kind) for family in (socket.AF_INET, socket.AF_INET6)
                      for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
        self.peer = lab.inet.bound_udp(lab.inet.v4, timeout=2.0)
        self.peer_address = self.peer.getsockname()

    def nothing_trapped(self):
        for trap in self.traps:
            try:
                got = trap.accept() if trap.type == socket.SOCK_STREAM else trap.recvfrom(100)
            except (TimeoutError, BlockingIOError):
                continue
            raise AssertionError(f"in the trap of E: {got}")
        self.firewall_is_clean()

    def a_client_works(self, client=None, **how):
        """Data both ways through a relay."""
        with client or self.turn(**how) as client:
            relay = client.relay()
            expect(client.bind(0x4abc, self.peer_address).kind == SUCCESS, "channel")
            client.send_channel(0x4abc, b"there")
            data, source = self.peer.recvfrom(100)
            expect(data == b"there" and source == relay, data, source)
            self.peer.sendto(b"back", relay)
            got = client.receive()
            expect(isinstance(got, ChannelData) and got.data == b"back", got)
            expect(client.refresh(0).kind == SUCCESS, "refresh")


def _trap(netns, family, kind):
    sock = netns.socket(family, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", TRAP_PORT))
    if kind == socket.SOCK_STREAM:
        sock.listen()
    sock.setblocking(False)
    return sock


def every_verb(s, hosts, port=TRAP_PORT):
    """CreatePermission, ChannelBind, Connect: refused; Send: nothing goes out. Each leaves its trace."""
    version = 6 if ":" in hosts[0] else 4
    with s.turn(version=version) as udp, s.turn(version=version, transport="tcp") as tcp:
        both = [(ADDITIONAL_ADDRESS_FAMILY, 2 << 24)] if version == 6 else []
        expect(udp.allocate(*both).kind == SUCCESS, "Allocate")
        expect(tcp.allocate(transport=TCP, family=version).kind == SUCCESS, "Allocate TCP")
        for i, host in enumerate(hosts):
            peer = (host, port)
            n_before = s.traces_of("turn.")[0]
            for verb, answer in (("CreatePermission", udp.permit(peer)),
                                 ("ChannelBind", udp.bind(0x4000 + i, peer)),
                                 ("TCP Connect", tcp.connect_peer(peer)),
                                 ("TCP CreatePermission", tcp.permit(peer))):
                # an allocation of IPv6 alone may call an IPv4 address in disguise a foreign family
                expect(answer.code == 403 or answer.code == 443 and "TCP" in verb and version == 6, verb, host, answer)
            udp.send(peer, b"in the trap?")
            udp.send_channel(0x4000 + i, b"in the trap?")
            n_after, entries = s.traces_of("turn.")
            expect(n_after >= n_before + 2, "traces of", host, n_before, n_after)
            expect(entries[0]["decided_by"], entries[0])
        # what was sent before it is done when this is answered
        expect(udp.refresh(0).kind == SUCCESS and tcp.refresh(0).kind == SUCCESS, "refresh")


@play.check
def t1_loopback(s):
    """T1: 0.0.0.0/8, 127/8, ::, ::1 and other IPv6 that is nobody's: 403 on CreatePermission, ChannelBind, Connect; Send goes nowhere; the rule is named"""
    every_verb(s, LOOPBACK4)
    every_verb(s, PLAIN6)
    s.nothing_trapped()


@play.check
def t2_encodings(s):
    """T2: loopback, E, C and metadata in eleven IPv6 spellings of IPv4: 403 on every verb"""
    for host in ("127.0.0.1", "10.20.0.10", "169.254.169.254"):
        every_verb(s, encodings(host))
    # E's own address is a peer by its relays' ports only, in any spelling
    with s.turn() as udp, s.turn(transport="tcp") as tcp:
        expect(udp.allocate((ADDITIONAL_ADDRESS_FAMILY, 2 << 24)).kind == SUCCESS, "Allocate")
        expect(tcp.allocate(transport=TCP, family=6).kind == SUCCESS, "Allocate TCP")
        for host in encodings(s.lab.dmz.v4):
            for port in (TRAP_PORT, 22, 3478, 7001):
                udp.permit((host, port))
                udp.send((host, port), b"in the trap?")
                expect(udp.bind(0x4001, (host, port)).code == 403, host, port)
                expect(tcp.connect_peer((host, port)).code in (403, 443), host, port)
        expect(udp.refresh(0).kind == tcp.refresh(0).kind == SUCCESS, "refresh")
    s.nothing_trapped()


@play.check
def t4_inside_and_own(s):
    """T4, F33: private, link-local, multicast; E's own ports, SSH, SIP, its link to C: 403; only what allow-peers names opens"""
    every_verb(s, INSIDE4 + OTHER4)
    edge = s.lab.dmz
    with s.turn() as udp, s.turn(transport="tcp") as tcp, s.turn(version=6) as udp6:
        udp.relay()
        udp6.relay(family=6)
        tcp.relay(transport=TCP)
        for port in (TRAP_PORT, 22, 2222, 3478, 5060, 5061, 5349, 7001, 7400, 8443, 36000, 40000, 0):
            for client, host in ((udp, edge.v4), (udp6, edge.v6)):
                answer = client.bind(0x4001, (host, port))
                expect(answer.code in (403, 400) if port == 0 else answer.code == 403, host, port, answer)
                client.permit((host, port))
                client.send((host, port), b"in the trap?")
            expect(tcp.connect_peer((edge.v4, port)).code in ((403, 400, 447) if port == 0 else (403,)), port)
        for client in (udp, udp6, tcp):
            expect(client.refresh(0).kind == SUCCESS, "refresh")
    s.setting(allow_peers="10.20.0.30 0.0.0.0/8 127.0.0.0/8")
    try:
        with s.turn() as client:
            client.relay()
            expect(client.permit(("10.20.0.30", 0)).kind == SUCCESS, "the named host")
            for host in ("10.20.0.31", "10.20.0.10", "127.0.0.1", "0.0.0.0", "192.168.1.10"):
                expect(client.permit((host, 0)).code == 403, host)
                expect(client.permit(("10.20.0.30", 0), (host, 0)).code == 403, "together with", host)
            s.setting(deny_peers="10.20.0.30")
            expect(client.permit(("10.20.0.30", 0)).code == 403, "deny is stronger")
            client.refresh(0)
    finally:
        s.setting(allow_peers=None, deny_peers=None)
    s.nothing_trapped()


@play.check
def t5_two_peers(s):
    """T5: a Send indication with two peers goes to the first one, or nowhere, never past a permission"""
    other = s.lab.inet.bound_udp(s.lab.inet.v4, timeout=0.3)
    with s.turn() as client:
        relay = client.relay()
        expect(client.permit(s.peer_address).kind == SUCCESS, "permission")
        for second in (("127.0.0.1", TRAP_PORT), ("10.20.0.10", TRAP_PORT), (s.lab.nat.v4, 9)):
            client.send_raw(message(SEND, [(XOR_PEER_ADDRESS, second), (XOR_PEER_ADDRESS, s.peer_address),
                                           (DATA_ATTR, b"second is permitted")], INDICATION))
            client.send_raw(message(SEND, [(XOR_PEER_ADDRESS, s.peer_address), (XOR_PEER_ADDRESS, second),
                                           (DATA_ATTR, b"first is permitted")], INDICATION))
            client.send(s.peer_address, b"end")
            got = []
            while not got or got[-1] != b"end":
                data, source = s.peer.recvfrom(100)
                expect(source == relay, source)
                got.append(data)
            expect(b"second is permitted" not in got, got)
        expect(client.refresh(0).kind == SUCCESS, "refresh")
    other.close()
    s.nothing_trapped()


@play.check
def t6_after_integrity(s):
    """T6: attributes behind MESSAGE-INTEGRITY change nothing: not a lifetime, not a peer, not a channel"""
    s.clear()
    with s.turn() as client:
        answer = client.request(ALLOCATE, [(REQUESTED_TRANSPORT, 17 << 24), (LIFETIME, 600)],
                                after=[(LIFETIME, 1), (ADDITIONAL_ADDRESS_FAMILY, 2 << 24)], fingerprint=True)
        expect(answer.kind == SUCCESS and answer.number(LIFETIME) == 600, answer)
        answer = client.request(REFRESH, [(LIFETIME, 600)], after=[(LIFETIME, 0)])
        expect(answer.kind == SUCCESS and answer.number(LIFETIME) == 600, answer)
        expect(len(s.allocations()) == 1, s.allocations())
        answer = client.request(CREATE_PERMISSION, [(XOR_PEER_ADDRESS, s.peer_address)],
                                after=[(XOR_PEER_ADDRESS, ("203.0.113.99", 1)),
                                       (XOR_PEER_ADDRESS, ("127.0.0.1", TRAP_PORT))])
        expect(answer.kind == SUCCESS, answer)
        peers = [p["peer"] for p in s.edge.ctl("turn")["allocations"][0]["permissions"]]
        expect(peers == [s.lab.inet.v4], peers)
        # what is wanted stands behind the seal only
        answer = client.request(CREATE_PERMISSION, [], after=[(XOR_PEER_ADDRESS, s.peer_address)])
        expect(answer.code == 400, answer)
        answer = client.request(0x009, [(CHANNEL_NUMBER, 0x4001 << 16)],
                                after=[(XOR_PEER_ADDRESS, s.peer_address)])
        expect(answer.code == 400, answer)
        # a seal that is no seal
        forged = message(REFRESH, [(LIFETIME, 0), (USERNAME, BOB[0]), (REALM, client.realm),
                                   (NONCE, client.nonce), (MESSAGE_INTEGRITY, bytes(20))])
        expect(client.ask(forged).code == 401, "forged seal")
        expect(client.refresh(0).kind == SUCCESS, "refresh")


def spoof(s, make, n, netns=None):
    """n datagrams, each from a source of its own in 198.18/15, at E's port 3478; a route leads answers back
    to inet, where nobody takes them."""
    lab = s.lab
    lab.fw.run(["ip", "route", "replace", "198.18.0.0/15", "via", lab.inet.v4])
    raw = lab.inet.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    target = socket.inet_aton(lab.dmz.v4)
    first = int(ipaddress.IPv4Address("198.18.0.0"))
    start = time.monotonic()
    for i in range(n):
        body = make(i)
        source = struct.pack("!I", first + i % (1 << 17))
        raw.sendto(struct.pack("!BBHHHBBH4s4sHHHH", 0x45, 0, 28 + len(body), 0, 0, 64, 17, 0, source, target,
                               1024 + i % 60000, 3478, 8 + len(body), 0) + body, (lab.dmz.v4, 0))
        if i % 200 == 0:  # as fast as the box keeps up, so that they arrive
            time.sleep(max(0.0, start + i / 25000 - time.monotonic()))
    raw.close()



@play.check
def t7_spoofed_allocates(s):
    """T7: 100,000 spoofed Allocates from as many sources: memory flat, no descriptor, no allocation; clients go on"""
    s.clear()
    plain = message(ALLOCATE, [(REQUESTED_TRANSPORT, 17 << 24)])
    with s.turn() as client:
        client.challenged(client.ask(plain))
        known = client.sealed(ALLOCATE, [(REQUESTED_TRANSPORT, 17 << 24)])  # its nonce is of another source
    rng = random.Random(7)

    def make(i):
        kind = i % 3
        if kind == 0:
            return plain[:8] + rng.randbytes(12) + plain[20:]
        if kind == 1:
            return known
        return message(ALLOCATE, [(REQUESTED_TRANSPORT, 17 << 24), (USERNAME, f"u{i}"), (REALM, b"edge1"),
                                  (NONCE, rng.randbytes(37).hex().encode()), (MESSAGE_INTEGRITY, bytes(20))])
    spoof(s, make, 10000)
    s.a_client_works()
    before, n_before = s.edge.rss_kib(), s.edge.n_descriptors()
    spoof(s, make, N_SPOOFED)
    s.a_client_works()
    expect(not s.allocations(), s.allocations())
    expect(s.edge.n_descriptors() == n_before, s.edge.n_descriptors(), n_before)
    if not s.edge.sanitized():
        expect(s.edge.rss_kib() - before <= 1024, f"{before} KiB before, {s.edge.rss_kib()} KiB after")
    s.nothing_trapped()


@play.check
def t7_nonces(s):
    """T7: a nonce is good for its own address and transport only: elsewhere 438, and then nothing is kept"""
    s.clear()
    with s.turn() as first, s.turn() as second, s.turn(transport="tcp") as stream:
        first.challenged(first.ask(message(ALLOCATE, [(REQUESTED_TRANSPORT, 17 << 24)])))
        request = first.sealed(ALLOCATE, [(REQUESTED_TRANSPORT, 17 << 24)])
        for other in (second, stream):
            expect(other.ask(request).code == 438, "a foreign nonce")
        expect(not s.allocations(), s.allocations())
        first.nonce = first.nonce[:-1] + (b"A" if first.nonce[-1:] != b"A" else b"B")
        expect(first.ask(first.sealed(ALLOCATE, [(REQUESTED_TRANSPORT, 17 << 24)])).code == 438, "forged")
        expect(first.allocate().kind == SUCCESS, "the new nonce")
        expect(first.refresh(0).kind == SUCCESS, "refresh")


@play.check
def t8_reflection(s):
    """T8, F38: to a forged victim go at most as many bytes as were sent in its name, beyond the granted rate nothing longer than the question"""
    victim, n = "198.51.100.99", 6000
    requests = [message(ALLOCATE), message(BINDING), message(ALLOCATE, [(REQUESTED_TRANSPORT, 17 << 24)])]
    with Stranger(s.lab.inet, victim) as stranger, Stranger(s.lab.inet) as attacker:
        port = stranger.sock.getsockname()[1]
        n_sent, start = 0, time.monotonic()
        for i in range(n):
            data = requests[i % 3]
            attacker.forge((victim, port), (s.lab.dmz.v4, 3478), data)
            n_sent += len(data)
            if i % 100 == 0:
                stranger.received()
                time.sleep(0.005)
        took = time.monotonic() - start
        time.sleep(0.3)
        stranger.received()
        n_came = sum(len(data) for _, data in stranger.came)
        expect(stranger.came, "no answer at all")
        expect(n_came <= n_sent, f"{n_sent} bytes in, {n_came} out")
        n_long = sum(1 for _, data in stranger.came if len(data) > max(map(len, requests)))
        expect(n_long <= 100 * (took + 2) + 10, f"{n_long} long answers in {took:.1f} s")
    s.lab.inet.run(["ip", "addr", "del", f"{victim}/24", "dev", "eth0"])
    s.a_client_works()


@play.check
def t8_indications(s):
    """T8, T9: what needs no answer gets none: indications, ChannelData, answers, DTLS hellos, garbage; nothing is sent on"""
    with s.turn() as client:
        for data in (message(SEND, [(XOR_PEER_ADDRESS, s.peer_address), (DATA_ATTR, b"x")], INDICATION),
                     message(BINDING, kind=INDICATION), message(ALLOCATE, kind=SUCCESS), b"\x40\x00\x00\x04abcd",
                     b"\x16\x03\x01\x00\x10" + bytes(16), b"", b"\0", bytes(20), random.Random(1).randbytes(500),
                     message(ALLOCATE)[:19], message(ALLOCATE) + b"\0\0"):
            client.send_raw(data)
        expect(client.silent(0.4), client.waiting)


def ports_used(s):
    return s.edge.ctl("status")["modules"]["turn"]["ports-used"]


@play.check
def t10_even_ports(s):
    """T10: EVEN-PORT with and without R, reservations taken and not: no port and no quota leaks in loops over a range of 16"""
    s.clear()
    s.setting(relay_ports="24000-24015", user_quota=20)
    try:
        for i in range(40):
            with s.turn() as client:
                answer = client.allocate(even_port="reserve" if i % 2 else "only")
                expect(answer.kind == SUCCESS, i, answer)
                token = answer.get(RESERVATION_TOKEN)
                expect((token is not None) == bool(i % 2), answer)
                if token:
                    with s.turn() as second, s.turn() as third:
                        expect(second.allocate(token=token).kind == SUCCESS, "reservation")
                        expect(third.allocate(token=token).code == 508, "a token is good once")
                        expect(second.refresh(0).kind == SUCCESS, "refresh")
                expect(client.refresh(0).kind == SUCCESS, "refresh")
        expect(ports_used(s) == 0, ports_used(s))
        clients = []
        try:
            while len(clients) < 17:
                clients.append(s.turn())
                answer = clients[-1].allocate()
                if answer.kind != SUCCESS:
                    break
            expect(len(clients) == 17 and answer.code == 508, f"{len(clients) - 1} of 16 ports", answer)
            expect(clients[-1].allocate(even_port="reserve").code == 508, "even when full")
            expect(clients[3].refresh(0).kind == SUCCESS, "refresh")
            expect(clients[-1].allocate().kind == SUCCESS, "one port is free again")
        finally:
            for client in clients:
                client.user and client.key and client.refresh(0)
                client.close()
        s.no_allocations()
        # who takes reservations and never comes: they end by themselves (RFC 8656 7.2: 30 s), and leave most
        codes = []
        for i in range(16):
            with s.turn() as client:
                codes.append(client.allocate(even_port="reserve").code)
                if codes[-1] == 0:
                    expect(client.refresh(0).kind == SUCCESS, "refresh")
        s.reserved_at = time.monotonic()
        expect(set(codes) == {0, 508} and 1 <= ports_used(s) <= 8, codes, ports_used(s))
        user = s.minted()
        s.setting(user_quota=2)
        with s.turn(user=user) as one, s.turn(user=user) as two, s.turn(user=user) as three:
            expect(one.allocate().kind == two.allocate().kind == SUCCESS, "two")
            expect(three.allocate().code == 486, "quota")
            expect(one.refresh(0).kind == SUCCESS, "refresh")
            expect(three.allocate().kind == SUCCESS, "and free again")
            expect(two.refresh(0).kind == three.refresh(0).kind == SUCCESS, "refresh")
        s.setting(user_quota=None)
        s.a_client_works()
    finally:
        s.setting(relay_ports=None, user_quota=None)


@play.check
def t11_random(s):
    """T11: relay ports and nonces are not to be guessed from the ones before"""
    ports, nonces = [], set()
    for _ in range(24):
        with s.turn() as client:
            ports.append(client.relay()[1])
            nonces.add(client.nonce)
            client.refresh(0)
    steps = {b - a for a, b in zip(ports, ports[1:])}
    expect(len(set(ports)) >= 20 and len(steps) >= 20 and max(ports) - min(ports) > 1500, ports)
    expect(len(nonces) == 24, "nonces of 24 clients are", len(nonces))


@play.check
def f28_slow_streams(s):
    """F28: 300 TCP and TLS clients that dribble, stay silent or send garbage: they are closed, memory stays, others work all along"""
    before = s.edge.rss_kib()
    socks = []
    for i in range(N_SLOW):
        sock = s.lab.inet.connect((s.lab.dmz.v4, (3478, 5349)[i % 2]))
        sock.setblocking(False)
        socks.append(sock)
    whole = message(ALLOCATE, [(REQUESTED_TRANSPORT, 17 << 24)])
    give_up = time.monotonic() + 12
    closed, n = set(), 0
    while len(closed) < N_SLOW:
        expect(time.monotonic() < give_up, f"{N_SLOW - len(closed)} of {N_SLOW} slow connections still stand")
        for i, sock in enumerate(socks):
            if i in closed:
                continue
            try:
                if i % 6 in (0, 1) and n < len(whole) - 1:
                    sock.send(whole[n:n + 1] if i % 2 == 0 else b"\x16\x03\x01\x02\x00\x01"[n:n + 1])
                elif i % 6 in (2, 3) and n == 0:
                    sock.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                if not sock.recv(2048):
                    closed.add(i)
            except BlockingIOError:
                pass
            except OSError:
                closed.add(i)
        n += 1
        s.a_client_works(transport=("udp", "tcp", "tls")[n % 3])
        time.sleep(0.1)
    for sock in socks:
        sock.close()
    s.edge.wait(lambda: not s.edge.connections("turn"), 5, "end of all connections")
    if not s.edge.sanitized():
        expect(s.edge.rss_kib() - before < 16384, before, s.edge.rss_kib())


@play.check
def f28_slow_reader(s):
    """F28: a TCP client that reads nothing while its peer sends 60 MB: dropped for him, memory stays, others work"""
    s.clear()
    with s.turn(transport="tcp") as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        relay = client.relay()
        expect(client.bind(0x4001, s.peer_address).kind == SUCCESS, "channel")
        before, block = s.edge.rss_kib(), bytes(1200)
        for i in range(50000):
            s.peer.sendto(block, relay)
            if i % 10000 == 0:
                with s.turn() as other:
                    expect(other.allocate().kind == SUCCESS and other.refresh(0).kind == SUCCESS, "other client")
        dropped = s.edge.ctl("status")["modules"]["turn"]["streams-dropped"]
        expect(dropped > 1000, "dropped for him:", dropped)
        if not s.edge.sanitized():
            expect(s.edge.rss_kib() - before < 8192, f"{before} KiB before, {s.edge.rss_kib()} KiB")
    s.no_allocations()
    s.a_client_works()


@play.check
def f31_stuffing(s):
    """F31: 50 sources try passwords: never let in, each slowed by the rate of unproved answers, the same answer for unknown users; bob gets in from another source"""
    inet = s.lab.inet
    hosts = [f"198.51.100.{n}" for n in range(101, 151)]
    inet.run(["ip", "-batch", "-"], input="".join(f"addr add {host}/24 dev eth0\n" for host in hosts))
    shapes = set()
    for n, host in enumerate(hosts):
        with s.turn(local=host, user=("x", "y")) as client:
            client.allocate()
            for i in range(4):
                client.user, client.password = (BOB[0] if i % 2 else f"user{n}", f"guess{i}")
                client.challenged(client.ask(message(ALLOCATE, [(REQUESTED_TRANSPORT, 17 << 24)])))
                answer = client.ask(client.sealed(ALLOCATE, [(REQUESTED_TRANSPORT, 17 << 24)]))
                expect(answer.code == 401, answer)
                shapes.add((len(answer.raw), tuple(key for key, _ in answer.attributes)))
        if n % 10 == 0:
            s.a_client_works(netns=s.lab.home)
    expect(len(shapes) == 1, "unknown users and wrong passwords can be told apart:", shapes)
    with s.turn(local=hosts[0]) as client:
        client.nonce = None
        n_asked, n_answered = 1000, 0
        for _ in range(n_asked):
            client.send_raw(message(ALLOCATE, [(REQUESTED_TRANSPORT, 17 << 24), (USERNAME, BOB[0])]))
        while True:
            try:
                client.receive(0.3)
                n_answered += 1
            except Silence:
                break
        expect(n_answered < 600, f"{n_answered} of {n_asked} answered")
    s.a_client_works()
    inet.run(["ip", "-batch", "-"], input="".join(f"addr del {host}/24 dev eth0\n" for host in hosts))


def ended(sock):
    """Whether the other side closes, one way or the other."""
    try:
        return sock.recv(100) == b""
    except ConnectionResetError:
        return True


def turned_away(netns, relay):
    """Whether E closes the connection; it may do so before connect() has come back."""
    try:
        peer = netns.connect(relay)
    except ConnectionResetError:
        return True
    try:
        return ended(peer)
    finally:
        peer.close()


@play.check
def f33_tcp_relays(s):
    """F33: RFC 6062: peers without permission are closed at once, a connection id works for its user, once, in time"""
    listener = s.lab.inet.socket()
    listener.bind((s.lab.inet.v4, 0))
    listener.listen()
    listener.settimeout(3)
    address = listener.getsockname()
    with s.turn(transport="tcp") as client:
        relay = client.relay(transport=TCP)
        expect(turned_away(s.lab.nat, relay), "a peer without permission stays")
        expect(client.permit(address).kind == SUCCESS, "permission")
        answer = client.connect_peer(address)
        expect(answer.kind == SUCCESS, answer)
        peer, _ = listener.accept()
        ident = answer.get(0x002a)
        mallory = s.turn(transport="tcp", user=s.minted())
        bound = mallory.request(0x00b, [(0x002a, ident)])
        expect(bound.code in (400, 441), "another user takes the connection:", bound)
        mallory.close()
        data, bound = client.data_connection(ident)
        expect(bound.kind == SUCCESS, bound)
        again, bound = client.data_connection(ident)
        expect(bound.code == 400, "a connection id works twice:", bound)
        again.close()
        expect(client.connect_peer(address).code == 446, "the same peer again")
        peer.sendall(b"hello")
        expect(data.data + data.sock.recv(10) == b"hello", "data")
        data.close()
        peer.settimeout(3)
        expect(ended(peer), "the peer's end")
        peer.close()
        expect(client.permit((s.lab.inet.v4, 1)).kind == SUCCESS, "permission")
        expect(client.connect_peer((s.lab.inet.v4, 1)).code == 447, "nobody listens")
        expect(client.refresh(0).kind == SUCCESS, "refresh")
    listener.close()
    s.nothing_trapped()


@play.check
def channels(s):
    """channel numbers outside 0x4000-0x4FFF and bound ones: 400; packets of strangers never reach a client"""
    with s.turn() as client, Stranger(s.lab.inet, "198.51.100.66") as stranger:
        relay = client.relay()
        for number in (0x0000, 0x3fff, 0x5000, 0x7fff, 0xffff):
            expect(client.bind(number, s.peer_address).code == 400, hex(number))
        expect(client.bind(0x4fff, s.peer_address).kind == SUCCESS, "0x4fff")
        expect(client.bind(0x4000, s.peer_address).code == 400, "one peer, two channels")
        expect(client.bind(0x4fff, (s.lab.nat.v4, 9)).code == 400, "one channel, two peers")
        stranger.send(relay, b"not invited")
        s.peer.sendto(b"invited", relay)
        got = client.receive()
        expect(isinstance(got, ChannelData) and got.data == b"invited" and client.silent(0.2), got)
        expect(client.refresh(0).kind == SUCCESS, "refresh")


@play.check
def t10_reservations_end(s):
    """T10: the reservations that nobody came for are gone after 30 s, with their place in the quota"""
    s.clear()
    left = s.reserved_at + 30 - time.monotonic()
    s.edge.wait(lambda: ports_used(s) == 0, max(1.0, left + 3), "end of all reservations")


@play.check
def nothing_inside(s):
    """the traps of E are empty, the firewall dropped nothing from E, and C saw nothing"""
    s.nothing_trapped()
    s.no_allocations()
    expect(not [row for row in s.lab.firewall.refused() if row["from"] == "dmz"], s.lab.firewall.refused())


if __name__ == "__main__":
    sys.exit(play.run(Stage))
