"""XMPP by hand over plain sockets and TLS: says any bytes, and reads strictly what comes back."""

import base64
import socket
import ssl
import time
import xml.etree.ElementTree as ElementTree

from .play import expect

CLIENT, SERVER = "jabber:client", "jabber:server"
STREAMS = "http://etherx.jabber.org/streams"
TLS = "urn:ietf:params:xml:ns:xmpp-tls"
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
SASL2 = "urn:xmpp:sasl:2"
BIND = "urn:ietf:params:xml:ns:xmpp-bind"
BIND2 = "urn:xmpp:bind:0"
SM = "urn:xmpp:sm:3"
DIALBACK = "jabber:server:dialback"
ERRORS = "urn:ietf:params:xml:ns:xmpp-streams"


class Silence(Exception):
    """Nothing came in time."""


class Closed(Exception):
    """The connection ended."""


class XmppRaw:
    """XmppRaw(lab.inet, (host, port), "example.com", ca). Nothing is said before it is told to.

    direct     TLS from the first byte, with ALPN
    content    CLIENT or SERVER
    cert       (certificate, key) to show
    sni        name to ask for in TLS, if not `to`; "" for none, the certificate is not compared then
    """

    def __init__(self, netns, address, to=None, ca=None, direct=False, content=CLIENT, cert=None, timeout=5.0,
                 sni=None, sock=None):
        self.to = to
        self.ca = ca
        self.content = content
        self.cert = cert
        self.timeout = timeout
        self.sni = to if sni is None else sni
        self.received = bytearray()  # everything since the last header()
        self.ended = False  # </stream:stream> came
        self.header_seen = None
        self._elements = []
        self._parser = None
        self.sock = sock or netns.connect(address, timeout)
        self.sock.settimeout(timeout)
        self.address = self.sock.getsockname()[:2]
        if direct:
            self.begin_tls(["xmpp-client" if content == CLIENT else "xmpp-server"])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """An end without a word, not even of TCP's polite ones."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def begin_tls(self, alpn=None):
        context = ssl.create_default_context(cafile=str(self.ca))
        if alpn:
            context.set_alpn_protocols(alpn)
        if self.cert:
            context.load_cert_chain(*map(str, self.cert))
        context.check_hostname = bool(self.sni)
        self.sock = context.wrap_socket(self.sock, server_hostname=self.sni or None)

    # -- saying

    def send(self, data):
        self.sock.sendall(data.encode() if isinstance(data, str) else data)

    def header(self, to=None, sender=None, version="1.0", more=""):
        """A stream header; what comes from now on belongs to a new stream. `to` "" leaves it out."""
        self._parser = None
        self.header_seen = None
        self.received = bytearray()
        self._elements = []
        to = self.to if to is None else to
        dialback = f" xmlns:db='{DIALBACK}'" if self.content == SERVER else ""
        self.send(f"<?xml version='1.0'?><stream:stream xmlns='{self.content}' xmlns:stream='{STREAMS}'{dialback}"
                  + (f" to='{to}'" if to else "") + (f" from='{sender}'" if sender else "")
                  + (f" version='{version}'" if version else "") + f"{more}>")

    # -- reading

    def read(self, deadline_s=None):
        """The next element of the stream; Silence, or Closed."""
        give_up = time.monotonic() + (deadline_s or self.timeout)
        while not self._elements:
            if self.ended:
                raise Closed("</stream:stream>")
            self._take(give_up)
        return self._elements.pop(0)

    def _take(self, give_up):
        left = give_up - time.monotonic()
        if left <= 0:
            raise Silence(bytes(self.received[-300:]))
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(65536)
        except (TimeoutError, ssl.SSLWantReadError):
            raise Silence(bytes(self.received[-300:])) from None
        except (ConnectionError, ssl.SSLError) as error:
            raise Closed(str(error)) from None
        finally:
            self.sock.settimeout(self.timeout)
        if not data:
            raise Closed("end of connection")
        self.received += data
        if self._parser is None:
            self._parser = ElementTree.XMLPullParser(("start", "end"))
            self._depth = 0
            self._root = None
        self._parser.feed(data)
        for event, element in self._parser.read_events():
            if event == "start":
                self._depth += 1
                if self._depth == 1:
                    expect(element.tag == f"{{{STREAMS}}}stream", "no stream header:", element.tag)
                    self._root = element
                    self.header_seen = dict(element.attrib)
            else:
                self._depth -= 1
                if self._depth == 1:
                    self._elements.append(element)
                    self._root.remove(element)
                elif self._depth == 0:
                    self.ended = True

    def ending(self, deadline_s=None):
        """Reads to the end: the condition of the stream error, "" for </stream:stream> alone, None for a
        connection that just ended."""
        condition = None
        try:
            while True:
                element = self.read(deadline_s)
                if element.tag == f"{{{STREAMS}}}error":
                    condition = next(child.tag.partition("}")[2] for child in element
                                     if child.tag.startswith(f"{{{ERRORS}}}"))
        except Closed:
            return condition if condition is not None else ("" if self.ended else None)

    def is_open(self, wait_s=0.3):
        """Nothing came and nothing ended."""
        try:
            self.read(wait_s)
        except Silence:
            return True
        except Closed:
            return False
        raise AssertionError("something came")

    # -- what clients do

    def features(self, deadline_s=None):
        element = self.read(deadline_s)
        expect(element.tag == f"{{{STREAMS}}}features", ElementTree.tostring(element))
        return element

    def open(self, **how):
        self.header(**how)
        return self.features()

    def starttls(self, injected=b""):
        """STARTTLS, with plain bytes behind the request."""
        self.send(f"<starttls xmlns='{TLS}'/>".encode() + injected)
        expect(self.read().tag == f"{{{TLS}}}proceed", "no proceed")
        self.begin_tls()

    def secure(self, **how):
        """Header, STARTTLS, header; the features then."""
        if not isinstance(self.sock, ssl.SSLSocket):
            self.open(**how)
            self.starttls()
        return self.open(**how)

    def plain(self, user, password):
        """What the server says to SASL PLAIN."""
        secret = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        self.send(f"<auth xmlns='{SASL}' mechanism='PLAIN'>{secret}</auth>")
        return self.read(10)

    def sign_in(self, user, password=None, resource="raw"):
        """From a connection to a bound session; the full address."""
        self.secure()
        return self.sign_in_secure(user, password, resource)

    def sign_in_secure(self, user, password=None, resource="raw"):
        answer = self.plain(user, password or f"{user}-secret")
        expect(answer.tag == f"{{{SASL}}}success", ElementTree.tostring(answer))
        self.open()
        return self.bind(resource)

    def bind(self, resource):
        self.send(f"<iq type='set' id='b'><bind xmlns='{BIND}'><resource>{resource}</resource></bind></iq>")
        answer = self.read(10)
        expect(answer.get("type") == "result", ElementTree.tostring(answer))
        return answer.find(f".//{{{BIND}}}jid").text

    def enable(self):
        """XEP-0198 with resumption: the id."""
        self.send(f"<enable xmlns='{SM}' resume='true'/>")
        answer = self.read()
        expect(answer.tag == f"{{{SM}}}enabled", ElementTree.tostring(answer))
        return answer.get("id")

    def ping(self, to=None, ident="p"):
        """An answer to a ping comes; what came before it is returned."""
        self.send(f"<iq type='get' id='{ident}'" + (f" to='{to}'" if to else "") +
                  "><ping xmlns='urn:xmpp:ping'/></iq>")
        before = []
        while (element := self.read()).get("id") != ident:
            before.append(element)
        return before


def mechanisms(features):
    return [m.text for m in features.iter(f"{{{SASL}}}mechanism")]


def name(element):
    """Local name."""
    return element.tag.partition("}")[2]


def text(element):
    return ElementTree.tostring(element).decode()
