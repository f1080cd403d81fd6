"""A TURN client by hand (RFC 8489, 8656, 6062), over UDP, TCP or TLS: says what a test tells it, legal or
not, and keeps everything that comes back.
"""

import base64
import hashlib
import hmac
import ipaddress
import secrets
import socket
import ssl
import struct
import time
import zlib

from .netns import family_of

COOKIE = 0x2112A442
REQUEST, INDICATION, SUCCESS, ERROR = range(4)
BINDING, ALLOCATE, REFRESH, SEND, DATA = 0x001, 0x003, 0x004, 0x006, 0x007
CREATE_PERMISSION, CHANNEL_BIND = 0x008, 0x009
CONNECT, CONNECTION_BIND, CONNECTION_ATTEMPT = 0x00a, 0x00b, 0x00c

MAPPED_ADDRESS, USERNAME, MESSAGE_INTEGRITY, ERROR_CODE = 0x0001, 0x0006, 0x0008, 0x0009
UNKNOWN_ATTRIBUTES, CHANNEL_NUMBER, LIFETIME = 0x000a, 0x000c, 0x000d
XOR_PEER_ADDRESS, DATA_ATTR, REALM, NONCE, XOR_RELAYED_ADDRESS = 0x0012, 0x0013, 0x0014, 0x0015, 0x0016
REQUESTED_ADDRESS_FAMILY, EVEN_PORT, REQUESTED_TRANSPORT = 0x0017, 0x0018, 0x0019
DONT_FRAGMENT, MESSAGE_INTEGRITY_SHA256, PASSWORD_ALGORITHM = 0x001a, 0x001c, 0x001d
XOR_MAPPED_ADDRESS, RESERVATION_TOKEN, CONNECTION_ID, ICMP = 0x0020, 0x0022, 0x002a, 0x8004
ADDITIONAL_ADDRESS_FAMILY, PASSWORD_ALGORITHMS = 0x8000, 0x8002
SOFTWARE, ALTERNATE_SERVER, FINGERPRINT = 0x8022, 0x8023, 0x8028
ADDRESSES = {XOR_PEER_ADDRESS, XOR_RELAYED_ADDRESS, XOR_MAPPED_ADDRESS}

UDP, TCP = 17, 6  # REQUESTED-TRANSPORT
SHA256_LIST = struct.pack("!HH", 2, 0)


class Silence(Exception):
    """Nothing came, or the connection is closed."""


def attribute(type_, value=b""):
    return struct.pack("!HH", type_, len(value)) + value + b"\0" * (-len(value) % 4)


def xor_address(address, tid):
    """(host, port) as in XOR-PEER-ADDRESS."""
    host = ipaddress.ip_address(address[0])
    mask = struct.pack("!I", COOKIE) + (tid if host.version == 6 else b"")
    packed = bytes(a ^ b for a, b in zip(host.packed, mask))
    return struct.pack("!xBH", 1 if host.version == 4 else 2, address[1] ^ (COOKIE >> 16)) + packed


def message(method, attributes=(), kind=REQUEST, tid=None, key=None, sha256=False, after=(),
            fingerprint=False):
    """attributes, after: (type, value); a value is bytes, a (host, port), or an int of 32 bits. key
    seals what stands before it; `after` comes behind the seal."""
    tid = tid or secrets.token_bytes(12)

    def raw(pairs):
        return b"".join(attribute(type_, _value(type_, value, tid)) for type_, value in pairs)

    body = raw(attributes)
    if key is not None:
        n, seal, algorithm = (32, MESSAGE_INTEGRITY_SHA256, "sha256") if sha256 else (
            20, MESSAGE_INTEGRITY, "sha1")
        covered = _head(method, kind, len(body) + 4 + n, tid) + body
        body += attribute(seal, hmac.new(key, covered, algorithm).digest())
    body += raw(after)
    if fingerprint:
        crc = zlib.crc32(_head(method, kind, len(body) + 8, tid) + body) ^ 0x5354554e
        body += attribute(FINGERPRINT, struct.pack("!I", crc))
    return _head(method, kind, len(body), tid) + body


def channel_data(number, data, padded=False):
    return struct.pack("!HH", number, len(data)) + data + (b"\0" * (-len(data) % 4) if padded else b"")


def _head(method, kind, n, tid):
    word = ((method & 0xf80) << 2 | (method & 0x70) << 1 | method & 0xf
            | (kind & 2) << 7 | (kind & 1) << 4)
    return struct.pack("!HHI", word, n, COOKIE) + tid


def _value(type_, value, tid):
    if isinstance(value, tuple):
        return xor_address(value, tid)
    if isinstance(value, int):
        return struct.pack("!I", value)
    return value.encode() if isinstance(value, str) else value


class Message:
    """One that came."""

    def __init__(self, data):
        word, n, cookie = struct.unpack_from("!HHI", data)
        if cookie != COOKIE or n + 20 != len(data) or word & 0xc000:
            raise ValueError(f"no STUN message: {data[:40].hex()}")
        self.raw = data
        self.kind = (word >> 7) & 2 | (word >> 4) & 1
        self.method = (word >> 2) & 0xf80 | (word >> 1) & 0x70 | word & 0xf
        self.tid = data[8:20]
        self.attributes = []
        at = 20
        while at < len(data):
            type_, size = struct.unpack_from("!HH", data, at)
            self.attributes.append((type_, data[at + 4:at + 4 + size]))
            at += 4 + size + -size % 4

    def get(self, type_):
        return next((value for key, value in self.attributes if key == type_), None)

    def number(self, type_):
        value = self.get(type_)
        return None if value is None else int.from_bytes(value, "big")

    def address(self, type_):
        """(host, port) or None."""
        return (self.addresses(type_) or [None])[0]

    def addresses(self, type_):
        return [self._address(value, type_ in ADDRESSES) for key, value in self.attributes
                if key == type_]

    def _address(self, value, xored):
        family, port = struct.unpack_from("!xBH", value)
        packed = value[4:]
        if xored:
            port ^= COOKIE >> 16
            packed = bytes(a ^ b for a, b in zip(packed, self.raw[4:20]))
        return str(ipaddress.ip_address(packed[:4 if family == 1 else 16])), port

    @property
    def code(self):
        """Of an error; 0 for anything else."""
        value = self.get(ERROR_CODE)
        return 0 if self.kind != ERROR or not value else value[2] * 100 + value[3]

    def __repr__(self):
        names = {SUCCESS: "success", ERROR: f"{self.code} {(self.get(ERROR_CODE) or b'')[4:].decode()}",
                 INDICATION: "indication", REQUEST: "request"}
        return f"<{self.method:#x} {names[self.kind]} {[hex(key) for key, _ in self.attributes]}>"


class ChannelData:
    def __init__(self, number, data):
        self.number = number
        self.data = data


class TurnClient:
    """TurnClient(lab.inet, (lab.dmz.v4, 3478), "bob", "bob-secret").

    transport  udp, tcp or tls (ca: whom to trust; None does not look)
    sha256     MESSAGE-INTEGRITY-SHA256 and a SHA-256 key, which the server must offer
    local      own address, when not the namespace's first one
    """

    def __init__(self, netns, server, user=None, password=None, transport="udp", ca=None,
                 sha256=False, local=None, timeout=3.0):
        self.netns = netns
        self.server = server
        self.user = user
        self.password = password
        self.transport = transport
        self.ca = ca
        self.sha256 = sha256
        self.timeout = timeout
        self.realm = self.nonce = self.key = self.algorithms = None
        self.waiting = []  # came while something else was waited for
        self.data = b""
        self.sock = self._open(local)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def _open(self, local):
        family = family_of(self.server[0])
        if self.transport == "udp":
            sock = self.netns.bound_udp(local or (self.netns.v4 if family == socket.AF_INET
                                                  else self.netns.v6), timeout=self.timeout)
            sock.connect(self.server)
            return sock
        sock = self.netns.connect(self.server, timeout=self.timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.transport == "tls":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = self.ca is not None
            context.verify_mode = ssl.CERT_REQUIRED if self.ca else ssl.CERT_NONE
            if self.ca:
                context.load_verify_locations(self.ca)
            sock = context.wrap_socket(sock, server_hostname="edge1.example.com")
        return sock

    @property
    def address(self):
        return self.sock.getsockname()[:2]

    # -- bytes

    def send_raw(self, data):
        if self.transport == "udp":
            self.sock.send(data)
        else:
            self.sock.sendall(data)

    def receive(self, deadline_s=None):
        """The next Message or ChannelData that nobody has taken."""
        if self.waiting:
            return self.waiting.pop(0)
        return self._receive(time.monotonic() + (self.timeout if deadline_s is None else deadline_s))

    def _receive(self, give_up):
        while True:
            found = self._cut()
            if found is not None:
                return found
            self.sock.settimeout(max(0.001, give_up - time.monotonic()))
            try:
                piece = self.sock.recv(65536)
            except (TimeoutError, ssl.SSLWantReadError):
                raise Silence("nothing came") from None
            except OSError as error:
                raise Silence(str(error)) from None
            if not piece and self.transport != "udp":
                raise Silence("closed")
            self.data += piece

    def _cut(self):
        """Takes one message off what has come."""
        if len(self.data) < 4:
            return None
        first, n = struct.unpack_from("!HH", self.data)
        is_channel = first >> 14 == 1
        n += 4 if is_channel else 20
        whole = n + (-n % 4 if self.transport != "udp" else 0)
        if self.transport == "udp":
            whole = len(self.data)
        elif len(self.data) < whole:
            return None
        piece, self.data = self.data[:n], self.data[whole:]
        return ChannelData(first, piece[4:]) if is_channel else Message(piece)

    def silent(self, for_s=0.3):
        """Whether nothing comes for that long."""
        try:
            self.waiting.append(self._receive(time.monotonic() + for_s))
            return False
        except Silence as error:
            return str(error) == "nothing came"

    def closed(self, deadline_s=5.0):
        """Whether the server closes the connection within the time."""
        give_up = time.monotonic() + deadline_s
        while time.monotonic() < give_up:
            try:
                self.waiting.append(self._receive(give_up))
            except Silence as error:
                return str(error) != "nothing came"
        return False

    def drain(self):
        self.waiting.clear()
        while True:
            try:
                self._receive(time.monotonic() + 0.02)
            except Silence:
                return

    # -- transactions

    def ask(self, data, deadline_s=None):
        """These bytes, and the answer with their transaction id; UDP says them again (RFC 8489 6.2.1)."""
        give_up = time.monotonic() + (self.timeout if deadline_s is None else deadline_s)
        pause = 0.5
        while True:
            self.send_raw(data)
            again = give_up if self.transport != "udp" else min(give_up, time.monotonic() + pause)
            try:
                return self._answer(data[8:20], again)
            except Silence as error:
                if time.monotonic() >= give_up or str(error) == "closed":
                    raise
                pause *= 2

    def _answer(self, tid, give_up):
        for at, item in enumerate(self.waiting):
            if isinstance(item, Message) and item.tid == tid:
                return self.waiting.pop(at)
        while True:
            item = self._receive(give_up)
            if isinstance(item, Message) and item.tid == tid and item.kind in (SUCCESS, ERROR):
                return item
            self.waiting.append(item)

    def request(self, method, attributes=(), after=(), fingerprint=False, deadline_s=None):
        """With credentials, after the challenge; asks again at a 401 before it or a 438."""
        for _ in range(3):
            answer = self.ask(self.sealed(method, attributes, after, fingerprint), deadline_s)
            if answer.code not in (401, 438) or answer.get(NONCE) is None:
                break
            if answer.code == 401 and self.nonce is not None:
                break  # the credentials are wrong
            self.challenged(answer)
            if self.user is None:
                break
        return answer

    def challenged(self, answer):
        """Takes realm and nonce of a 401 or 438."""
        self.realm, self.nonce = answer.get(REALM), answer.get(NONCE)
        if self.user is None:
            return
        if self.sha256 and answer.get(PASSWORD_ALGORITHMS) is None:
            raise ValueError("no PASSWORD-ALGORITHMS")
        make = hashlib.sha256 if self.sha256 else hashlib.md5
        self.key = make(b":".join((self.user.encode(), self.realm, self.password.encode()))).digest()
        self.algorithms = answer.get(PASSWORD_ALGORITHMS)

    def sealed(self, method, attributes=(), after=(), fingerprint=False, tid=None):
        """The bytes of a request with what is known of the challenge."""
        attributes = list(attributes)
        if self.key is None:
            return message(method, attributes, tid=tid, fingerprint=fingerprint)
        attributes += [(USERNAME, self.user), (REALM, self.realm), (NONCE, self.nonce)]
        if self.sha256:
            attributes += [(PASSWORD_ALGORITHMS, self.algorithms), (PASSWORD_ALGORITHM, SHA256_LIST)]
        return message(method, attributes, tid=tid, key=self.key, sha256=self.sha256, after=after,
                       fingerprint=fingerprint)

    # -- verbs: each returns the answer

    def allocate(self, *more, transport=UDP, lifetime=None, family=None, even_port=None, token=None):
        attributes = [(REQUESTED_TRANSPORT, transport << 24)]
        if lifetime is not None:
            attributes.append((LIFETIME, lifetime))
        if family:
            attributes.append((REQUESTED_ADDRESS_FAMILY, (1 if family == 4 else 2) << 24))
        if even_port is not None:
            attributes.append((EVEN_PORT, bytes([0x80 if even_port == "reserve" else 0])))
        if token:
            attributes.append((RESERVATION_TOKEN, token))
        return self.request(ALLOCATE, [*attributes, *more])

    def relay(self, **how):
        """Allocates; the relayed address."""
        answer = self.allocate(**how)
        if answer.kind != SUCCESS:
            raise AssertionError(f"Allocate: {answer}")
        return answer.address(XOR_RELAYED_ADDRESS)

    def refresh(self, lifetime=600):
        return self.request(REFRESH, [(LIFETIME, lifetime)])

    def permit(self, *peers):
        return self.request(CREATE_PERMISSION, [(XOR_PEER_ADDRESS, peer) for peer in peers])

    def bind(self, number, peer):
        return self.request(CHANNEL_BIND, [(CHANNEL_NUMBER, number << 16), (XOR_PEER_ADDRESS, peer)])

    def send(self, peer, data, *more):
        """A Send indication; nothing answers."""
        self.send_raw(message(SEND, [(XOR_PEER_ADDRESS, peer), *more, (DATA_ATTR, data)], INDICATION))

    def send_channel(self, number, data):
        self.send_raw(channel_data(number, data, padded=self.transport != "udp"))

    def connect_peer(self, peer, deadline_s=None):
        return self.request(CONNECT, [(XOR_PEER_ADDRESS, peer)], deadline_s=deadline_s)

    def data_connection(self, connection_id):
        """A second connection that carries what that peer's does (RFC 6062): (client, answer). Its
        sock is the peer's from then on; what came behind the answer is in its data."""
        other = TurnClient(self.netns, self.server, self.user, self.password, self.transport, self.ca,
                           self.sha256, timeout=self.timeout)
        other.realm, other.nonce, other.key = self.realm, self.nonce, self.key
        other.algorithms = self.algorithms
        return other, other.request(CONNECTION_BIND, [(CONNECTION_ID, connection_id)])


def minted(secret, user, ttl=600, now=None):
    """(username, password) of the REST scheme."""
    name = f"{int(now if now is not None else time.time()) + ttl}:{user}"
    digest = hmac.new(secret.encode(), name.encode(), "sha1").digest()
    return name, base64.b64encode(digest).decode()
