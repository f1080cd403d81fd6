"""A partner's server that does what it is told: takes streams from E, offers what a test wants, answers dialback
with yes, no or nothing, and keeps what it was sent. Its own streams to E are XmppRaw's."""

import socket
import ssl
import threading
import time
import xml.etree.ElementTree as ElementTree

from .xmpp_raw import DIALBACK, SASL, SERVER, STREAMS, TLS


class PartnerDouble:
    """PartnerDouble(lab.inet, address, "double.org", (certificate, key), ca).start(). Switches, any time:

    tls        offer STARTTLS; "required" says so
    external   offer EXTERNAL within TLS
    dialback   offer dialback; answer `result` with it
    verify     what <db:verify/> gets: "valid", "invalid", or None for silence
    cert       what is shown to new connections

    direct=True is a port for TLS from the first byte.
    """

    def __init__(self, netns, address, domain, cert, ca, port=5269, direct=False):
        self.netns = netns
        self.address = (address, port)
        self.domain = domain
        self.cert = cert
        self.ca = ca
        self.direct = direct
        self.tls, self.external, self.dialback = True, True, True
        self.verify = "valid"
        self.result = "valid"
        self.streams = []
        self._news = threading.Condition()
        self._listener = None

    def start(self):
        self._listener = self.netns.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(self.address)
        self._listener.listen(64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return self

    def stop(self):
        """Nobody is there any more; streams that stand are cut."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for stream in self.streams:
            stream.cut()

    def forget(self):
        self.streams = []

    def wait(self, condition, deadline_s=10.0, what="that"):
        with self._news:
            if not self._news.wait_for(condition, deadline_s):
                raise TimeoutError(f"{self.domain} does not see {what}: {self.elements()[-5:]}")
            return condition()

    def elements(self, local=None):
        """All that came, as (stream, element), oldest first; of that local name."""
        return [(stream, e) for stream in self.streams for e in stream.elements
                if local in (None, e.tag.partition("}")[2])]

    def has(self, body):
        """The message with that body, and the stream it came on; None."""
        return next(((stream, e) for stream, e in self.elements("message")
                     if e.findtext(f"{{{SERVER}}}body") == body), None)

    def hears(self, body, deadline_s=10.0):
        return self.wait(lambda: self.has(body), deadline_s, body)

    def _accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            stream = _Stream(self, sock)
            self.streams.append(stream)
            threading.Thread(target=stream.run, daemon=True).start()

    def news(self):
        with self._news:
            self._news.notify_all()


class _Stream:
    def __init__(self, server, sock):
        self.server = server
        self.sock = sock
        self.elements = []
        self.headers = []
        self.is_tls = False
        self.sni = None
        self.authenticated = False
        self.peer_cert = None
        self.ended = False  # </stream:stream> came
        self.closed = False
        self.began = time.monotonic()

    def cut(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def send(self, data):
        self.sock.sendall(data.encode() if isinstance(data, str) else data)

    def run(self):
        try:
            if self.server.direct:
                self._begin_tls()
            self._restart()
            while data := self.sock.recv(65536):
                self._parser.feed(data)
                for event, element in self._parser.read_events():
                    if self._event(event, element):
                        break  # the stream begins anew
        except (OSError, ElementTree.ParseError):
            pass
        self.closed = True
        self.sock.close()
        self.server.news()

    def _begin_tls(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*map(str, self.server.cert))
        context.load_verify_locations(str(self.server.ca))
        context.verify_mode = ssl.CERT_OPTIONAL
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.set_alpn_protocols(["xmpp-server"])
        context.sni_callback = self._asked_for
        self.sock = context.wrap_socket(self.sock, server_side=True)
        self.peer_cert = self.sock.getpeercert()
        self.is_tls = True

    def _asked_for(self, _sock, host, _context):
        self.sni = host

    def _restart(self):
        self._parser = ElementTree.XMLPullParser(("start", "end"))
        self._depth = 0

    def _event(self, event, element):
        if event == "start":
            self._depth += 1
            if self._depth == 1:
                self._header(element)
            return False
        self._depth -= 1
        if self._depth == 0:
            self.ended = True
            self.send("</stream:stream>")
        return self._depth == 1 and self._element(element)

    def _header(self, header):
        self.headers.append(dict(header.attrib))
        server, features = self.server, ""
        if server.tls and not self.is_tls:
            features += f"<starttls xmlns='{TLS}'>{'<required/>' * (server.tls == 'required')}</starttls>"
        elif not self.authenticated:
            if server.external and self.peer_cert:
                features += f"<mechanisms xmlns='{SASL}'><mechanism>EXTERNAL</mechanism></mechanisms>"
            if server.dialback:
                features += "<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>"
        self.send(f"<?xml version='1.0'?><stream:stream xmlns='{SERVER}' xmlns:stream='{STREAMS}' "
                  f"xmlns:db='{DIALBACK}' version='1.0' id='s{id(self)}' from='{server.domain}' "
                  f"to='{header.get('from', '')}'><stream:features>{features}</stream:features>")
        self.server.news()

    def _element(self, element):
        self.elements.append(element)
        server = self.server
        server.news()
        if element.tag == f"{{{TLS}}}starttls":
            self.send(f"<proceed xmlns='{TLS}'/>")
            self._begin_tls()
            self._restart()
            return True
        if element.tag == f"{{{SASL}}}auth":
            self.send(f"<success xmlns='{SASL}'/>")
            self.authenticated = "external"
            self._restart()
            return True
        who = f"from='{element.get('to')}' to='{element.get('from')}'"
        if element.tag == f"{{{DIALBACK}}}result" and server.result and element.get("type") is None:
            self.send(f"<db:result {who} type='{server.result}'/>")
            self.authenticated = "dialback"
        elif element.tag == f"{{{DIALBACK}}}verify" and server.verify and element.get("type") is None:
            self.send(f"<db:verify {who} id='{element.get('id')}' type='{server.verify}'/>")
        return False
