"""A stand-in for an IM server that is attacked: keeps every byte of every connection, offers what it is told to,
and says what no server should. No TLS."""

import base64
import re
import selectors
import threading
import time
import xml.etree.ElementTree as ElementTree

from .xmpp_raw import BIND, BIND2, CLIENT, SASL, SASL2, SM, STREAMS

BEFORE = (f"<mechanisms xmlns='{SASL}'><mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism>"
          "</mechanisms>")
WITH_SASL2 = BEFORE + (
    f"<authentication xmlns='{SASL2}'><mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism><inline>"
    f"<bind xmlns='{BIND2}'><inline><feature var='{SM}'/></inline></bind><sm xmlns='{SM}'/></inline></authentication>")
AFTER = f"<bind xmlns='{BIND}'/><sm xmlns='{SM}'/><ver xmlns='urn:xmpp:features:rosterver'/>"

OAUTH_ERROR = b'{"status":"invalid_token","scope":"chat","openid-configuration":"https://id.example/"}'


class ImDouble:
    """ImDouble(lab.uc, "10.20.0.48").start(). `before` and `after` are the features offered before and after SASL;
    everybody's password is NAME-secret, `tokens` has those of OAUTHBEARER, and EXTERNAL is believed: the certificate
    was not for its eyes. With SASL2 (`before` = WITH_SASL2) binding and XEP-0198 go inline, resumption too.
    `connections` has one Inner for each that came."""

    def __init__(self, netns, address, port=5222):
        self.netns = netns
        self.address = (address, port)
        self.before, self.after = BEFORE, AFTER
        self.tokens = {}
        self.sessions = {}  # of XEP-0198: id -> user
        self.connections = []
        self._changed = threading.Condition()
        self._over = False
        self._selector = selectors.DefaultSelector()
        self._listener = None

    def start(self):
        self._listener = self.netns.socket()
        self._listener.setsockopt(1, 2, 1)  # SO_REUSEADDR
        self._listener.bind(self.address)
        self._listener.listen(256)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def stop(self):
        self._over = True
        self._listener.close()

    def wait(self, condition, deadline_s=5.0, what="that"):
        """Until condition() of what arrived holds; its value."""
        with self._changed:
            value = condition()
            give_up = time.monotonic() + deadline_s
            while not value:
                left = give_up - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"the IM server's double does not see {what}")
                self._changed.wait(left)
                value = condition()
            return value

    def of(self, user):
        """The newest connection on which that user signed in."""
        return self.wait(lambda: next((c for c in reversed(self.connections) if c.user == user), None), what=user)

    def n_bytes(self):
        """All that ever arrived."""
        return sum(len(c.received) for c in self.connections)

    def _run(self):
        while not self._over:
            for key, _ in self._selector.select(0.5):
                with self._changed:
                    if key.data is None:
                        self._accept()
                    else:
                        key.data.take()
                    self._changed.notify_all()

    def _accept(self):
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        sock.setblocking(True)
        inner = Inner(self, sock, self._selector)
        self.connections.append(inner)
        self._selector.register(sock, selectors.EVENT_READ, inner)


class Inner:
    """One connection: `received` are its bytes, `elements` what they mean."""

    def __init__(self, server, sock, selector):
        self.server = server
        self.sock = sock
        self._selector = selector
        self.received = bytearray()
        self.elements = []
        self.headers = []
        self.user = None
        self.closed = False
        self.ended = False  # </stream:stream> came
        self.silent = False  # says nothing more by itself
        self._restart()

    def _restart(self):
        self._parser = ElementTree.XMLPullParser(("start", "end"))
        self._depth = 0

    def send(self, data):
        try:
            self.sock.sendall(data.encode() if isinstance(data, str) else data)
        except OSError:
            pass

    def close(self):
        """Cuts the connection."""
        self.sock.shutdown(2)

    def take(self):
        try:
            data = self.sock.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.closed = True
            self._selector.unregister(self.sock)
            self.sock.close()
            return
        self.received += data
        try:
            self._parser.feed(data)
            events = list(self._parser.read_events())
        except ElementTree.ParseError:
            return
        for event, element in events:
            self._event(event, element)

    def _event(self, event, element):
        if event == "start":
            self._depth += 1
            if self._depth == 1:
                self._header(element)
            return
        self._depth -= 1
        if self._depth == 0:
            self.ended = True
            self.send("</stream:stream>")
        elif self._depth == 1:
            self.elements.append(element)
            if not self.silent:
                self._answer(element)

    def _header(self, header):
        self.headers.append(dict(header.attrib))
        if self.silent:
            return
        features = self.server.after if self.user else self.server.before
        self.send(f"<?xml version='1.0'?><stream:stream xmlns='{CLIENT}' xmlns:stream='{STREAMS}' version='1.0' "
                  f"id='d{id(self)}' from='{header.get('to')}'><stream:features>{features}</stream:features>")

    def _answer(self, element):
        if element.tag == f"{{{SASL}}}auth":
            self.user = self._user_of(element.get("mechanism"), element.text)
            if self.user:
                self.send(f"<success xmlns='{SASL}'/>")
                self._restart()
            elif element.get("mechanism") == "OAUTHBEARER":  # RFC 7628 section 3.2.2
                self.send(f"<challenge xmlns='{SASL}'>{base64.b64encode(OAUTH_ERROR).decode()}</challenge>")
            else:
                self.send(f"<failure xmlns='{SASL}'><not-authorized/></failure>")
        elif element.tag == f"{{{SASL}}}response":
            self.send(f"<failure xmlns='{SASL}'><not-authorized/></failure>")
        elif element.tag == f"{{{SASL2}}}authenticate":
            self._authenticate(element)
        elif element.find(f"{{{BIND}}}bind") is not None:
            resource = element.find(f".//{{{BIND}}}resource")
            self.send(f"<iq type='result' id='{element.get('id')}'><bind xmlns='{BIND}'><jid>{self.user}@"
                      f"{self.headers[0].get('to')}/{resource.text if resource is not None else 'x'}</jid></bind></iq>")
        elif element.find("{urn:xmpp:ping}ping") is not None:
            self.send(f"<iq type='result' id='{element.get('id')}'/>")

    def _user_of(self, mechanism, data):
        """Who signs in; None: nobody."""
        data = base64.b64decode(data or "")
        if mechanism == "PLAIN":
            _, user, password = data.decode().split("\0")
            return user if password == f"{user}-secret" else None
        if mechanism == "EXTERNAL":
            return data.decode().partition("@")[0] or None
        if mechanism == "OAUTHBEARER":
            found = re.fullmatch(rb"n,a=(\w+)@[^,]*,\x01(?:.*\x01)?auth=Bearer ([^\x01]+)\x01\x01", data)
            user = found and found[1].decode()
            return user if user and self.server.tokens.get(user) == found[2].decode() else None
        return None

    def _authenticate(self, element):
        """XEP-0388 with XEP-0386: all in one answer, and no new stream."""
        user = self._user_of(element.get("mechanism"), element.findtext(f"{{{SASL2}}}initial-response"))
        if not user:
            self.send(f"<failure xmlns='{SASL2}'><not-authorized xmlns='{SASL}'/></failure>")
            return
        self.user = user
        domain, sessions = self.headers[0].get("to"), self.server.sessions
        bind, resume = element.find(f"{{{BIND2}}}bind"), element.find(f"{{{SM}}}resume")
        inline, address = "", f"{user}@{domain}"
        if resume is not None and sessions.get(resume.get("previd")) == user:
            inline = f"<resumed xmlns='{SM}' h='0' previd='{resume.get('previd')}'/>"
        elif bind is not None:
            address += "/" + bind.findtext(f"{{{BIND2}}}tag", "x")
            if bind.find(f"{{{SM}}}enable") is not None:
                ident = f"sm{len(sessions)}"
                sessions[ident] = user
                inline = f"<enabled xmlns='{SM}' id='{ident}' resume='true'/>"
            inline = f"<bound xmlns='{BIND2}'>{inline}</bound>"
        self.send(f"<success xmlns='{SASL2}'><authorization-identifier>{address}</authorization-identifier>{inline}"
                  f"</success><stream:features>{self.server.after}</stream:features>")
