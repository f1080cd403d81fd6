"""A scripted remote-access client: does over HTTP, in order, what soft phones do outside, and checks every
answer as strictly as the strictest of them. Knows nothing but a domain, a user and a password.
"""

import email.utils
import re
import socket
import struct
import time
import xml.etree.ElementTree as ET

from .play import expect
from .webclient import WebClient, basic, through, token

SERVICES = ("_cisco-uds", "_cuplogin", "_cisco-phone-tftp")
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


class MraClient:
    """MraClient(lab, lab.inet, "alice", "alice-secret", ca=pki.cert("public-ca"))."""

    def __init__(self, lab, netns, user, password, ca=None, domain="example.com"):
        self.lab = lab
        self.netns = netns
        self.user = user
        self.password = password
        self.ca = ca
        self.domain = domain
        self.web = WebClient(netns, (lab.dmz.v4, 8443), ca)
        self.cookie = None
        self.config = None

    @property
    def credentials(self):
        return ("Authorization", basic(self.user, self.password))

    # -- the steps

    def discover(self):
        """SRV look-ups in the order of the clients: the inside ones fail, the edge is found."""
        for name in ("_cisco-uds._tcp", "_cuplogin._tcp"):
            expect(srv(self.netns, self.lab.inet.v4, f"{name}.{self.domain}") == [], name, "is outside")
        found = srv(self.netns, self.lab.inet.v4, f"_collab-edge._tls.{self.domain}")
        expect(found == [(10, 10, 8443, "edge1.example.com")], found)
        return found[0][3], found[0][2]

    def ask_config(self, services=SERVICES[:2], slash=False, fields=None, **alphabet):
        """The answer to get_edge_config, whatever it is."""
        query = "&".join(f"service_name={name}" for name in services)
        target = f"/{token(self.domain, **alphabet)}/get_edge_config{'/' if slash else ''}?{query}"
        return self.web.ask("GET", target, [self.credentials] if fields is None else fields)

    def sign_in(self, services=SERVICES[:2], **how):
        """Keeps the cookie; returns the configuration as an element."""
        answer = self.ask_config(services, **how)
        expect(answer.status == 200, "sign-in:", answer)
        expect(answer.get("content-type", "").split(";")[0] in ("text/xml", "application/xml"), answer)
        expect(len(answer.all("server")) == 1 and answer.get("date"), answer)
        self.cookie = check_cookie(answer)
        self.web.fields = [("Cookie", f"X-Auth={self.cookie}")]
        self.config = ET.fromstring(answer.body)
        check_config(self.config, services)
        return self.config

    def forget(self):
        """As a client that was closed: no cookie, no connection."""
        self.web.close()
        self.web.fields = []
        self.cookie = None

    def get(self, url, method="GET", body=None, fields=(), credentials=False, **more):
        """A URL inside, through the pair."""
        fields = list(fields) + ([self.credentials] if credentials else [])
        return self.web.ask(method, through(url, self.domain), fields, body, **more)

    def get_xml(self, url, root, **more):
        answer = self.get(url, **more)
        expect(answer.status == 200, url, answer)
        element = ET.fromstring(answer.body)
        expect(bare(element) == root, url, bare(element), "is not", root)
        return element

    def home_user(self, any_server):
        """Which server is the user's home."""
        element = self.get_xml(f"https://{any_server}:8443/cucm-uds/clusterUser?username={self.user}",
                               "clusterUser")
        result = element.find("result")
        expect(result is not None and result.get("found") == "true", ET.tostring(element))
        return re.match(r"https://([^:/]+):8443/cucm-uds/user/", result.get("uri"))[1]

    def devices(self, home):
        element = self.get_xml(f"https://{home}:8443/cucm-uds/user/{self.user}/devices", "devices",
                               credentials=True)
        return [device.findtext("name") for device in element.findall("device")]

    def servers(self, home):
        element = self.get_xml(f"https://{home}:8443/cucm-uds/servers", "servers")
        return [server.text for server in element.findall("server")]

    def directory(self, home, name):
        element = self.get_xml(f"https://{home}:8443/cucm-uds/users?name={name}", "users",
                               credentials=True)
        return [user.findtext("userName") for user in element.findall("user")]

    def config_file(self, server, name):
        answer = self.get(f"http://{server}:6970/{name}")
        expect(answer.status == 200, name, answer)
        return answer

    def voicemail(self, server="cuc1.example.com"):
        element = self.get_xml(f"https://{server}/vmrest/messages", "Messages", credentials=True)
        return int(element.get("total"))

    def photo(self, url=None):
        answer = self.get(url or f"https://photos.example.com/{self.user}.jpg")
        expect(answer.status == 200 and answer.body[:3] == b"\xff\xd8\xff", answer)
        return answer

    def presence(self, server="imp1.example.com"):
        """Log in at the presence server by SOAP, with the password in the body."""
        body = ('<?xml version="1.0"?><soapenv:Envelope '
                'xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
                f'<login xmlns="urn:cisco:epas:soap"><username>{self.user}</username>'
                f"<password>{self.password}</password></login></soapenv:Body></soapenv:Envelope>")
        answer = self.get(f"https://{server}:8443/EPASSoap/service", "POST", body.encode(),
                          [("Content-Type", "text/xml"), ("SOAPAction", '"login"')])
        expect(answer.status == 200 and b"sessionKey" in answer.body, answer)
        return answer

    def log_out(self):
        """The session ends: the cookie is taken back and worth nothing afterwards."""
        answer = self.web.ask("GET", f"/{token(self.domain)}/logout")
        expect(answer.status in (200, 204), "logout:", answer)
        return answer

    def whole_sign_in(self):
        """All steps; returns what was learnt."""
        self.discover()
        config = self.sign_in(SERVICES)
        any_server = servers_of(config, "_cisco-uds")[0][0]
        home = self.home_user(any_server)
        learnt = {"home": home, "devices": self.devices(home), "servers": self.servers(home),
                  "found": self.directory(home, "bob")}
        learnt["tftp"] = tftp_of(config)
        expect(home in learnt["tftp"], "the home is no TFTP server:", learnt)
        for name in (f"{learnt['devices'][0]}.cnf.xml", "jabber-config.xml", "AppDialRules.xml"):
            self.config_file(home, name)
        learnt["messages"] = self.voicemail()
        self.presence()
        self.photo()
        return learnt


def bare(element):
    """The tag without its namespace."""
    return element.tag.rpartition("}")[2]


def find(element, *path):
    """The first descendant along the tags, whatever their namespace."""
    for tag in path:
        element = next((child for child in element if bare(child) == tag), None)
        if element is None:
            return None
    return element


def servers_of(config, service):
    """[(address, port)] of one service by priority; None: the service has an error instead."""
    for element in find(config, "serviceConfig"):
        if bare(element) == "service" and find(element, "name").text == service:
            if find(element, "error") is not None:
                return None
            rows = [(int(find(s, "priority").text), find(s, "address").text, int(find(s, "port").text))
                    for s in element if bare(s) == "server"]
            return [(address, port) for _, address, port in sorted(rows)]
    raise AssertionError(f"no service {service}")


def tftp_of(config):
    return [address.text for address in find(config, "serviceConfig", "tftpServer")]


def check_config(config, services):
    """The parts that clients read: one service per asked name, and where E is."""
    expect(bare(config) == "getEdgeConfigResponse" and config.get("version") == "1.0", config.tag)
    for service in services:
        servers_of(config, service)
    edge = find(config, "edgeConfig")
    expect(edge is not None, "no edgeConfig")
    for path, port in ((("sipEdgeServer", "server"), "tlsPort"), (("httpEdgeServer", "server"), "tlsPort"),
                       (("userUdsServer", "server"), "tlsPort")):
        server = find(edge, *path)
        expect(server is not None and find(server, "address") is not None, path, "is missing")
        expect(find(server, port) is not None, path, "has no", port)
    expect(find(edge, "sipEdgeServer", "server", "tlsPort").text == "5061", "SIP port")
    expect(find(edge, "httpEdgeServer", "server", "tlsPort").text == "8443", "HTTP port")
    expect(find(edge, "sipRequest", "route") is not None, "no sipRequest/route")


def check_cookie(answer):
    """X-Auth: a random UUID with the attributes that clients need; returns its value."""
    lines = [line for line in answer.all("set-cookie") if line.startswith("X-Auth=")]
    expect(len(lines) == 1, "cookies:", answer.all("set-cookie"))
    value, *attributes = [part.strip() for part in lines[0].removeprefix("X-Auth=").split(";")]
    expect(re.fullmatch(UUID, value, re.I), "cookie", value)
    names = {a.partition("=")[0].lower(): a.partition("=")[2] for a in attributes}
    expect("secure" in names and "httponly" in names, lines)
    expect(names.get("path") == "/" and names.get("domain") == ".example.com", lines)
    expires = email.utils.parsedate_to_datetime(names["expires"]).timestamp()
    expect(time.time() < expires < time.time() + 86400 * 2, lines)
    return value


# -- the one kind of DNS question that is asked here

def srv(netns, server, name, timeout=3.0):
    """[(priority, weight, port, target)], [] when there is no such name."""
    question = b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\0"
    packet = struct.pack("!HHHHHH", 4711, 0x0100, 1, 0, 0, 0) + question + struct.pack("!HH", 33, 1)
    with netns.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout)
        sock.connect((server, 53))
        sock.send(packet)
        data = sock.recv(4096)
    _, flags, _, n_answers, _, _ = struct.unpack_from("!HHHHHH", data)
    if flags & 0x0f == 3:
        return []
    expect(flags & 0x0f == 0, "DNS error", flags & 0x0f)
    at, rows = 12 + len(question) + 4, []
    for _ in range(n_answers):
        _, at = _name(data, at)
        kind, _, _, length = struct.unpack_from("!HHIH", data, at)
        at += 10
        if kind == 33:
            rows.append((*struct.unpack_from("!HHH", data, at), _name(data, at + 6)[0]))
        at += length
    return sorted(rows)


def _name(data, at):
    labels, end = [], None
    while length := data[at]:
        if length >= 0xc0:
            end = end or at + 2
            at = struct.unpack_from("!H", data, at)[0] & 0x3fff
        else:
            labels.append(data[at + 1:at + 1 + length].decode())
            at += 1 + length
    return ".".join(labels), end or at + 1
