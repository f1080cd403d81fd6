"""The program behind fake_uc.FakeUc: call managers, presence and voicemail in one process, in the `uc`
namespace. Takes the whole state as JSON, one line a command, on a Unix socket; notes every request.

    python3 -m lab.fake_uc_server SOCKET JOURNAL
"""

import base64
import json
import pathlib
import re
import socket
import ssl
import sys
import threading
import time
import urllib.parse
from xml.sax.saxutils import escape, quoteattr

from .httpd import Gone, Journal, Listener

VERSION = "12.5.1"
CCM_VERSION = "12.5.1.11900(146)"
CM_PORTS = {"uds": 8443, "tftp": 6970, "tftps": 6972}
XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
MODE_HANG_S = 600
DIRECTORY = {  # user: display name, number
    "alice": ("Alice Adler", "1001"), "bob": ("Bob Bachmann", "1002"),
    "carol": ("Carol Conti", "1003"), "dave": ("Dave Dubois", "2001"),
}
ENVELOPE = ('<?xml version="1.0" encoding="UTF-8"?>\n'
            '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/">'
            "<soapenv:Body>{}</soapenv:Body></soapenv:Envelope>\n")
AXL_NS = "http://www.cisco.com/AXL/API/12.5"


class World:
    """The state a test set: see FakeUc."""

    def __init__(self, journal):
        self.journal = journal
        self.state = {"nodes": {}, "users": {}, "homes": {}, "mixed": {}, "axl": ["", ""]}
        self.listeners = {}
        self.changed = threading.Condition()
        self._contexts = {}

    def node(self, connection):
        return self.state["nodes"][connection.listener.name.split("/")[0]]

    def mode(self, connection):
        return self.node(connection)["mode"]

    def context(self, node):
        name = "wrong" if self.state["nodes"][node]["mode"] == "wrong-certificate" else "good"
        cert, key = self.state["certificates"][name]
        if (cert, key) not in self._contexts:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(cert, key)
            self._contexts[cert, key] = context
        return self._contexts[cert, key]

    def set(self, state):
        with self.changed:
            self.state = state
            self.changed.notify_all()
        wanted = {}
        for name, node in state["nodes"].items():
            if node["mode"] != "stopped":
                for service, port in node["ports"].items():
                    wanted[f"{name}/{service}"] = (name, node["address"], port)
        for key in [k for k in self.listeners if k not in wanted]:
            self.listeners.pop(key).stop()
        for key, (name, address, port) in wanted.items():
            if key in self.listeners:
                continue
            plain = key.split("/")[1] in ("tftp", "plain")
            self.listeners[key] = Listener(
                key, (address, port), self.serve, None if plain else lambda n=name: self.context(n),
                self.journal, lambda listener, n=name: state_mode(self, n) != "drop").start()

    def wait_alive(self, connection):
        """Hanging: until the mode changes, or nobody can be waiting any more."""
        give_up = time.monotonic() + MODE_HANG_S
        with self.changed:
            while self.mode(connection) == "hang":
                if not self.changed.wait(give_up - time.monotonic()):
                    raise Gone("hung up")

    def serve(self, c):
        node, service = c.listener.name.split("/")
        r = c.request
        body = c.read_body()
        user, password = basic(r)
        good = bool(user) and self.state["users"].get(user) == password
        self.journal.note(node=node, service=service, method=r.method, target=r.target,
                          fields=r.fields, user=user, authenticated=good, mode=self.mode(c),
                          client=c.client[0], body=body[:2000].decode("latin-1"))
        if self.mode(c) == "hang":
            self.wait_alive(c)
        delay = self.node(c).get("delay_s", 0)
        if delay:
            time.sleep(delay)  # a slow server is what was asked for
        if self.mode(c) in ("500", "503"):
            c.respond(int(self.mode(c)), "broken\n")
            return
        if self.mode(c) == "drop":
            raise Gone("dropped")
        ROLES[service](self, c, node, user if good else None, body.decode("utf-8", "replace"))


def state_mode(world, name):
    return world.state["nodes"][name]["mode"]


def basic(request):
    """(user, password) of the Authorization field, or (None, None)."""
    kind, _, code = request.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return None, None
    try:
        user, _, password = base64.b64decode(code).decode().partition(":")
    except ValueError:
        return None, None
    return user, password


def unauthorized(c, realm):
    c.respond(401, "<html><head><title>401</title></head></html>", "text/html",
              [("WWW-Authenticate", f'Basic realm="{realm}"')])


def cluster_of(world, user):
    return world.state["homes"].get(user)


def members(world, cluster, role=None):
    return [name for name, node in world.state["nodes"].items() if node["cluster"] == cluster
            and (role is None or role in node["roles"])]


# -- UDS and AXL on 8443 of a call manager

def uds(world, c, node, user, body):
    path = c.request.path
    if path.rstrip("/").startswith("/axl"):
        axl(world, c, node, body)
        return
    if path.startswith("/cucm-uds/"):
        uds_resource(world, c, node, user, path.removeprefix("/cucm-uds/").strip("/").split("/"))
        return
    c.respond(404, "<html><body>404</body></html>", "text/html")


def uds_resource(world, c, node, user, parts):
    base = f"https://{node}:8443/cucm-uds"
    uri = f'uri="{base}/{escape("/".join(parts))}" version="{VERSION}"'
    query = {k: urllib.parse.unquote_plus(v) for k, v in c.request.queries().items()}
    if parts == ["version"]:
        answer = f'<versionInformation {uri}><version>{VERSION}</version><capabilities>' \
                 "<usersResourceAuthEnabled>true</usersResourceAuthEnabled></capabilities>" \
                 "</versionInformation>"
    elif parts == ["clusterUser"]:
        answer = cluster_user(world, node, base, query.get("username", ""))
    elif parts == ["servers"]:
        names = members(world, world.state["nodes"][node]["cluster"], "uds")
        answer = f'<servers {uri} requestedCount="64" start="0" returnedCount="{len(names)}" ' \
                 f'totalCount="{len(names)}">' + "".join(
                     f"<server>{name}</server>" for name in names) + "</servers>"
    elif parts == ["users"]:
        if not user:
            unauthorized(c, "Cisco Web Services Realm")
            return
        answer = directory(base, uri, query)
    elif parts[0] == "user" and len(parts) >= 2:
        if user != parts[1] or cluster_of(world, user) != world.state["nodes"][node]["cluster"]:
            unauthorized(c, "Cisco Web Services Realm")
            return
        answer = user_resource(base, uri, user, parts[2:])
    else:
        answer = None
    if answer is None:
        c.respond(404, XML + "<errors><error><code>404</code></error></errors>", "application/xml")
        return
    c.respond(200, XML + answer, "application/xml;charset=UTF-8")


def cluster_user(world, node, base, username):
    home = cluster_of(world, username)
    attributes = f'uri={quoteattr(f"{base}/clusterUser?username={username}")} version="{VERSION}"'
    if not home or username not in world.state["users"]:
        return f'<clusterUser {attributes}><result found="false" version="{VERSION}"/></clusterUser>'
    same = world.state["nodes"][node]["cluster"] == home
    there = node if same else members(world, home, "uds")[0]
    return f'<clusterUser {attributes}><result version="{VERSION}" ' \
           f'uri="https://{there}:8443/cucm-uds/user/{username}" found="true"/></clusterUser>'


def directory(base, uri, query):
    word = next(iter(query.get(k) for k in ("name", "username", "last", "first", "number")
                     if query.get(k)), "").lower()
    found = [u for u, (name, number) in DIRECTORY.items()
             if word in u or word in name.lower() or word in number]
    return f'<users {uri} requestedCount="64" start="0" returnedCount="{len(found)}" ' \
           f'totalCount="{len(found)}">' + "".join(person(base, u) for u in found) + "</users>"


def person(base, user):
    first, last = DIRECTORY.get(user, (user, ""))[0].partition(" ")[::2]
    return f'<user uri="{base}/user/{user}" version="{VERSION}"><userName>{user}</userName>' \
           f"<firstName>{first}</firstName><lastName>{last}</lastName>" \
           f"<displayName>{first} {last}</displayName>" \
           f"<phoneNumber>{DIRECTORY.get(user, ('', ''))[1]}</phoneNumber>" \
           f"<email>{user}@example.com</email><directoryUri>{user}@example.com</directoryUri></user>"


def user_resource(base, uri, user, rest):
    if not rest:
        return person(base, user)
    if rest == ["devices"]:
        return f'<devices {uri}><device uri="{base}/user/{user}/device/{user}-csf">' \
               f"<id>{user}-csf</id><name>CSF{user.upper()}</name><description/>" \
               '<model id="503">Cisco Unified Client Services Framework</model>' \
               "<ownerUserId>" + user + "</ownerUserId><protocol>SIP</protocol></device>" \
               f'<device uri="{base}/user/{user}/device/{user}-sep"><id>{user}-sep</id>' \
               f"<name>{phone_name(user)}</name><description>desk</description>" \
               '<model id="621">Cisco 8861</model><protocol>SIP</protocol></device></devices>'
    if rest == ["speedDials"]:
        return f"<speedDials {uri}/>"
    return None


def phone_name(user):
    return "SEP" + user.encode().hex().upper().ljust(12, "0")[:12]


def axl(world, c, node, body):
    if list(basic(c.request)) != list(world.state["axl"]):
        unauthorized(c, "Cisco AXL Web Service Realm")
        return
    operation = re.search(r"<(?:\w+:)?(getCCMVersion|listProcessNode|executeSQLQuery|listCallManager)"
                          r"[\s>/]", body)
    cluster = world.state["nodes"][node]["cluster"]
    if not operation:
        c.respond(500, ENVELOPE.format(
            "<soapenv:Fault><faultcode>soapenv:Client</faultcode>"
            "<faultstring>unknown operation</faultstring></soapenv:Fault>"), "text/xml")
        return
    name = operation[1]
    inner = {"getCCMVersion": lambda: f"<componentVersion><version>{CCM_VERSION}</version>"
                                      "</componentVersion>",
             "listProcessNode": lambda: process_nodes(world, cluster),
             "listCallManager": lambda: call_managers(world, cluster),
             "executeSQLQuery": lambda: sql(world, cluster, body.lower())}[name]()
    c.respond(200, ENVELOPE.format(
        f'<ns:{name}Response xmlns:ns="{AXL_NS}"><return>{inner}</return></ns:{name}Response>'),
        "text/xml;charset=UTF-8")


AXL_ROLES = {"uds": "CUCM Voice/Video", "presence": "CUCM IM and Presence"}


def process_nodes(world, cluster):
    rows = ["<processNode uuid=\"{00000000-0000-0000-0000-000000000000}\">"
            "<name>EnterpriseWideData</name><processNodeRole>CUCM Voice/Video</processNodeRole>"
            "</processNode>"]
    for n, name in enumerate(members(world, cluster)):
        role = next((AXL_ROLES[r] for r in world.state["nodes"][name]["roles"] if r in AXL_ROLES),
                    None)
        if role:
            rows.append(f'<processNode uuid="{{11111111-0000-0000-0000-{n:012d}}}"><name>{name}</name>'
                        f"<description/><mac/><ipv6Name/><nodeUsage>{'Publisher' if n == 0 else 'Subscriber'}"
                        f"</nodeUsage><lbmHubGroup/><processNodeRole>{role}</processNodeRole></processNode>")
    return "".join(rows)


def call_managers(world, cluster):
    return "".join(f"<callManager><name>CM_{name}</name><processNodeName>{name}</processNodeName>"
                   "<ports><ethernetPhonePort>2000</ethernetPhonePort><sipPorts><sipPhonePort>5060"
                   "</sipPhonePort><sipPhoneSecurePort>5061</sipPhoneSecurePort></sipPorts></ports>"
                   "</callManager>" for name in members(world, cluster, "uds"))


def sql(world, cluster, query):
    """Not a database: what the query is about decides what comes."""
    if "clustersecuritymode" in query:
        mixed = "1" if world.state["mixed"].get(cluster) else "0"
        return f"<row><paramname>ClusterSecurityMode</paramname><paramvalue>{mixed}</paramvalue></row>"
    if "tftp" in query:
        return "".join(f"<row><name>{name}</name><servername>{name}</servername></row>"
                       for name in members(world, cluster, "tftp"))
    if "processnode" in query:
        return "".join(f"<row><name>{name}</name></row>" for name in members(world, cluster))
    return ""


# -- configuration files on 6970 (plain) and 6972

def tftp(world, c, node, _user, _body):
    name = urllib.parse.unquote(c.request.path).strip("/").rpartition("/")[2]
    cluster = world.state["nodes"][node]["cluster"]
    owner = next((u for u in world.state["users"]
                  if name in (f"{phone_name(u)}.cnf.xml", f"CSF{u.upper()}.cnf.xml")), None)
    if owner and cluster_of(world, owner) == cluster:
        c.respond(200, phone_file(world, cluster, owner), "application/octet-stream")
    elif name == "jabber-config.xml":
        c.respond(200, JABBER_CONFIG, "application/octet-stream")
    elif name in ("AppDialRules.xml", "DirLookupDialRules.xml"):
        c.respond(200, '<?xml version="1.0" encoding="UTF-8"?>\n<DialRules>'
                  '<DialRule BeginsWith="+1" NumDigits="12" DigitsToRemove="2" PrefixWith="9"/>'
                  "</DialRules>\n", "application/octet-stream")
    else:
        c.respond(404, "")


def phone_file(world, cluster, user):
    managers = "".join(
        f'<member priority="{n}"><callManager><name>{name}</name><ports><sipPort>5060</sipPort>'
        "<securedSipPort>5061</securedSipPort></ports><processNodeName>" + name +
        "</processNodeName></callManager></member>"
        for n, name in enumerate(members(world, cluster, "uds")))
    return ('<?xml version="1.0" encoding="UTF-8"?>\n<device><fullConfig>true</fullConfig>'
            "<deviceProtocol>SIP</deviceProtocol><devicePool><callManagerGroup><members>" + managers +
            "</members></callManagerGroup></devicePool><sipProfile><sipLines>"
            f'<line button="1" lineIndex="1"><featureLabel>{DIRECTORY[user][1]}</featureLabel>'
            f"<name>{user}</name><displayName>{DIRECTORY[user][0]}</displayName>"
            "</line></sipLines></sipProfile></device>\n")


JABBER_CONFIG = """<?xml version="1.0" encoding="utf-8"?>
<config version="1.0">
  <Directory>
    <DirectoryServerType>UDS</DirectoryServerType>
    <UdsPhotoURIWithToken>https://photos.example.com/%%uid%%.jpg</UdsPhotoURIWithToken>
  </Directory>
  <Voicemail><VoicemailPrimaryServer>cuc1.example.com</VoicemailPrimaryServer></Voicemail>
</config>
"""


# -- voicemail and presence

def voicemail(_world, c, node, user, _body):
    if not c.request.path.startswith("/vmrest/"):
        c.respond(404, "")
        return
    if not user:
        unauthorized(c, "Cisco Unity Connection")
        return
    parts = c.request.path.removeprefix("/vmrest/").strip("/").split("/")
    if parts[0] == "messages" and c.request.method == "DELETE":
        c.respond(204)
    elif parts[0] == "messages":
        c.respond(200, XML + f'<Messages total="1"><Message><URI>/vmrest/messages/0:{user}-1</URI>'
                  "<Subject>Message from 1002</Subject><Read>false</Read><Type>Voice</Type>"
                  f"<MsgId>0:{user}-1</MsgId><From><DisplayName>Bob</DisplayName></From>"
                  f"<Duration>4200</Duration><Host>{node}</Host></Message></Messages>",
                  "application/xml")
    elif parts[0] == "mailbox":
        c.respond(200, XML + "<Mailbox><CurrentSizeInBytes>4200</CurrentSizeInBytes></Mailbox>",
                  "application/xml")
    else:
        c.respond(404, "")


def presence(world, c, _node, _user, body):
    if not c.request.path.startswith("/EPASSoap/service"):
        c.respond(404, "")
        return
    user = re.search(r"<(?:\w+:)?username>([^<]*)<", body)
    word = re.search(r"<(?:\w+:)?password>([^<]*)<", body)
    good = user and word and world.state["users"].get(user[1]) == word[1]
    if good:
        inner = '<loginResponse xmlns="urn:cisco:epas:soap"><result><sessionKey>' \
                f"key-{user[1]}</sessionKey><jid>{user[1]}@example.com</jid></result></loginResponse>"
    else:
        inner = "<soapenv:Fault><faultcode>soapenv:Client</faultcode>" \
                "<faultstring>login failed</faultstring></soapenv:Fault>"
    c.respond(200 if good else 500, ENVELOPE.format(inner), "text/xml;charset=UTF-8")


ROLES = {"uds": uds, "tftp": tftp, "tftps": tftp, "soap": presence, "voicemail": voicemail,
         "plain": voicemail}


def main():
    path, journal = sys.argv[1:]
    world = World(Journal(journal))
    pathlib.Path(path).unlink(missing_ok=True)
    control = socket.socket(socket.AF_UNIX)
    control.bind(path)
    control.listen()
    while True:
        client, _ = control.accept()
        with client, client.makefile("rwb") as lines:
            for line in lines:
                try:
                    world.set(json.loads(line))
                    answer = {"ok": True}
                except (OSError, ValueError, KeyError) as error:
                    answer = {"error": f"{type(error).__name__}: {error}"}
                lines.write(json.dumps(answer).encode() + b"\n")
                lines.flush()


if __name__ == "__main__":
    main()
