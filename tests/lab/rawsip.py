"""A SIP client that says exactly what it is told, over UDP: for what no real phone would send."""

import hashlib
import itertools
import re
import secrets
import time

_numbers = itertools.count(1)


class Message:
    """A received request or response: `first` line, `headers` [(name, value)], `body`."""

    def __init__(self, data, source=None):
        self.source = source
        head, _, self.body = data.decode(errors="replace").partition("\r\n\r\n")
        self.first, *lines = head.split("\r\n")
        self.headers = [tuple(part.strip() for part in line.split(":", 1))
                        for line in lines if ":" in line]

    @property
    def status(self):
        """Of a response; None for a request."""
        words = self.first.split()
        return int(words[1]) if words and words[0] == "SIP/2.0" else None

    @property
    def method(self):
        return self.first.split()[0]

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name):
        return (self.all(name) or [None])[0]


class RawSip:
    """RawSip(lab.inet, ("203.0.113.10", 5060), "alice", "alice-secret")"""

    def __init__(self, netns, server, user, password=None, domain="example.com", port=0):
        self.server = server
        self.user = user
        self.password = password
        self.domain = domain
        self.host = netns.v6 if ":" in server[0] else netns.v4
        self.sock = netns.bound_udp(self.host, port)
        self.port = self.sock.getsockname()[1]
        self.call_id = secrets.token_hex(8)
        self.tag = secrets.token_hex(4)

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def here(self):
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def request(self, method, uri, headers=(), body="", to=None, deadline_s=5.0):
        """Send, authenticate once when asked to, and return the final response."""
        answer = self._exchange(method, uri, headers, body, to, deadline_s)
        asked = answer.get("WWW-Authenticate") or answer.get("Proxy-Authenticate")
        if answer.status in (401, 407) and self.password and asked:
            name = "Authorization" if answer.status == 401 else "Proxy-Authorization"
            headers = [*headers, f"{name}: {self._credentials(method, uri, asked)}"]
            answer = self._exchange(method, uri, headers, body, to, deadline_s)
        return answer

    def register(self, headers=(), expires=60, contact=None):
        contact = contact or f"sip:{self.user}@{self.here}"
        return self.request("REGISTER", f"sip:{self.domain}",
                            [f"Contact: <{contact}>;expires={expires}", *headers],
                            to=f"sip:{self.user}@{self.domain}")

    def receive(self, deadline_s=5.0):
        """The next message, whatever it is."""
        self.sock.settimeout(deadline_s)
        data, source = self.sock.recvfrom(65535)
        return Message(data, source)

    def reply(self, request, status, reason, headers=(), body=""):
        """Answer a request that came in."""
        lines = [f"SIP/2.0 {status} {reason}"]
        for name in ("Via", "Record-Route", "From", "Call-ID", "CSeq"):
            lines += [f"{name}: {value}" for value in request.all(name)]
        target = request.get("To")
        lines += [f"To: {target}" + ("" if ";tag=" in target else f";tag={self.tag}"), *headers]
        self._send(lines, body, request.source)

    def _exchange(self, method, uri, headers, body, to, deadline_s):
        number = next(_numbers)
        branch = "z9hG4bK" + secrets.token_hex(8)
        lines = [f"{method} {uri} SIP/2.0",
                 f"Via: SIP/2.0/UDP {self.here};rport;branch={branch}",
                 "Max-Forwards: 70",
                 f"From: <sip:{self.user}@{self.domain}>;tag={self.tag}",
                 f"To: <{to or uri}>",
                 f"Call-ID: {self.call_id}",
                 f"CSeq: {number} {method}",
                 *headers]
        self._send(lines, body, self.server)
        give_up = time.monotonic() + deadline_s
        while True:
            answer = self.receive(max(0.01, give_up - time.monotonic()))
            if answer.status and answer.status >= 200 and branch in (answer.get("Via") or ""):
                return answer

    def _send(self, lines, body, target):
        lines = [*lines, f"Content-Length: {len(body.encode())}", "", body]
        self.sock.sendto("\r\n".join(lines).encode(), target[:2])

    def _credentials(self, method, uri, challenge):
        """RFC 7616 with qop=auth, or without qop when none is offered."""
        given = dict(re.findall(r'(\w+)="?([^",]+)"?', challenge))
        algorithm = given.get("algorithm", "MD5")
        new = hashlib.sha256 if algorithm.upper() == "SHA-256" else hashlib.md5

        def digest(*parts):
            return new(":".join(parts).encode()).hexdigest()

        secret = digest(self.user, given["realm"], self.password)
        action = digest(method, uri)
        words = [f'Digest username="{self.user}"', f'realm="{given["realm"]}"',
                 f'nonce="{given["nonce"]}"', f'uri="{uri}"', f"algorithm={algorithm}"]
        if "qop" in given:
            cnonce = secrets.token_hex(8)
            response = digest(secret, given["nonce"], "00000001", cnonce, "auth", action)
            words += ["qop=auth", "nc=00000001", f'cnonce="{cnonce}"']
        else:
            response = digest(secret, given["nonce"], action)
        if "opaque" in given:
            words.append(f'opaque="{given["opaque"]}"')
        return ", ".join([*words, f'response="{response}"'])
