"""A stand-in for an IM server that is attacked: keeps every byte of every connection, offers what it is told to,
and says what no server should. No TLS."""

import base64
import selectors
import threading
import time
import xml.etree.ElementTree as ElementTree

from .xmpp_raw import BIND, CLIENT, SASL, SM, STREAMS

BEFORE = (f"<mechanisms xmlns='{SASL}'><mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism>"
          "</mechanisms>")
AFTER = f"<bind xmlns='{BIND}'/><sm xmlns='{SM}'/><ver xmlns='urn:xmpp:features:rosterver'/>"


class ImDouble:
    """ImDouble(lab.uc, "10.20.0.48").start(). `before` and `after` are the features offered before and after SASL;
    everybody's password is NAME-secret. `connections` has one Inner for each that came."""

    def __init__(self, netns, address, port=5222):
        self.netns = netns
        self.address = (address, port)
        self.before, self.after = BEFORE, AFTER
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
            _, user, password = base64.b64decode(element.text or "").decode().split("\0")
            if password != f"{user}-secret":
                self.send(f"<failure xmlns='{SASL}'><not-authorized/></failure>")
                return
            self.user = user
            self.send(f"<success xmlns='{SASL}'/>")
            self._restart()
        elif element.find(f"{{{BIND}}}bind") is not None:
            resource = element.find(f".//{{{BIND}}}resource")
            self.send(f"<iq type='result' id='{element.get('id')}'><bind xmlns='{BIND}'><jid>{self.user}@"
                      f"{self.headers[0].get('to')}/{resource.text if resource is not None else 'x'}</jid></bind></iq>")
        elif element.find("{urn:xmpp:ping}ping") is not None:
            self.send(f"<iq type='result' id='{element.get('id')}'/>")
