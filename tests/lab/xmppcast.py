"""The cast of tests of chat: the pair with [xmpp], IM servers inside, partners outside, DNS.

    example.com   Prosody on imp1 (a second node, imp3, with the same users, when asked for)
    example.net   ejabberd on imp2
    spy.example   a double on imp4 that keeps every byte (im_double.py), without TLS
    partner.org   Prosody outside; other.org ejabberd outside; double.org whom a test plays itself
"""

import contextlib

from .chat import ChatHost, GoSendxmpp, Profanity
from .dns import Dns
from .ejabberd import Ejabberd
from .im_double import ImDouble
from .netns import end
from .pair import Pair
from .pki import PAST, Pki
from .play import expect
from .prosody import Prosody
from .topology import PARTNERS, SERVERS
from .xmpp_raw import SERVER, XmppRaw

ADDRESS = {name: address for _, name, address in SERVERS + PARTNERS}
OURS = ("example.com", "example.net", "spy.example")
THEIRS = ("partner.org", "other.org", "double.org")
# known inside only: C is asked for them. The name servers outside fail for servfail.org.
NOBODY = ("nowhere.org", "deaf.org", "servfail.org")
BROKEN_ZONE = "@ IN NS nobody\n"

EDGE = """
[tls xmpp]
certificate = {pki}/edge-xmpp.crt
key = {pki}/edge-xmpp.key
ca = {pki}/uc-ca.crt

[tls s2s]
certificate = {pki}/edge-xmpp.crt
key = {pki}/edge-xmpp.key
ca = {pki}/public-ca.crt

[xmpp]
tls = xmpp
s2s-tls = s2s
pool-tls = pair
max-per-source = 0
new-per-second = 0
{edge_xmpp}
"""
CORE = """
[xmpp]
pool-tls = pair
{core_xmpp}

[tls inside]
certificate = {pki}/core-inside.crt
key = {pki}/core-inside.key
ca = {pki}/uc-ca.crt
{servers}
[federation]
mode = {mode}
inside-tls = inside
{federation}
{partner_sections}
"""
IM_SERVER = {
    "prosody": """
[im-server imp1]
domains = example.com conference.example.com
hosts = {hosts}
{ca}
{prosody}
""",
    "ejabberd": """
[im-server imp2]
domains = example.net conference.example.net
hosts = imp2.example.com
ca = uc
{ejabberd}

[domain example.net]
im = yes
{federates}
""",
    "double": """
[im-server spy]
domains = spy.example
hosts = imp4.example.com
tls = plain
federation = none
{double}

[domain spy.example]
im = yes
"""}
# the same at every partner's and at ours; {edge} has the dot
CLIENT_RECORDS = """
_xmpp-client._tcp IN SRV 10 10 5222 {host}
_xmpps-client._tcp IN SRV 10 10 5222 {host}
"""
SERVER_RECORDS = """
_xmpp-server._tcp IN SRV 10 10 {port} {host}
_xmpp-server._tcp.conference IN SRV 10 10 {port} {host}
"""


class XmppCast:
    """XmppCast(lab, servers=("prosody",), partners=("partner.org",)). Words, all of them lines of a section:
    edge_xmpp, core_xmpp, federation, prosody, ejabberd, double ([im-server]), partner_sections. More:

    mode        of [federation]
    inside      options of the IM servers inside: {"prosody": {...}, "ejabberd": {...}}
    outside     options of the partners: {"partner.org": {...}}
    nodes       of example.com: ("imp1", "imp3")
    records     more DNS records outside: {"double.org": "lines"}
    """

    def __init__(self, lab, servers=("prosody",), partners=(), mode="allow-list", inside=None, outside=None,
                 nodes=("imp1",), records=None, start=True, **words):
        self.lab = lab
        self.pki = Pki(lab.work / "pki")
        self.ca = self.pki.cert("public-ca")
        self._hosts = {}
        self.servers, self.partners = {}, {}
        self._issue()
        self._make_servers(servers, nodes, inside or {})
        self._make_partners(partners, outside or {})
        self.dns = Dns(lab, *self._records(records or {})).start()
        waiting = [*self.servers.values(), *self.partners.values()]
        for server in waiting:
            server.launch()
        self.double = ImDouble(lab.uc, ADDRESS["imp4.example.com"]).start() if "double" in servers else None
        for server in waiting:
            server.wait_ready()
        self.pair = self._make_pair(servers, nodes, mode, words)
        self.edge, self.core = self.pair.edge, self.pair.core
        self.prepare()
        if start:
            self.pair.start()
            self.wait_chat()

    def prepare(self):
        """Who else must be there before the pair starts."""

    def _issue(self):
        """Certificates, all at once: who is who on which side."""
        domains = [name for domain in OURS for name in (domain, f"conference.{domain}")]
        self.pki.issue("edge-xmpp", "public-ca", ("edge1.example.com", *domains), usage="both")
        theirs = [name for domain in THEIRS + NOBODY for name in (domain, f"conference.{domain}")]
        self.pki.issue("core-inside", "uc-ca", ("core1.example.com", *theirs))
        for host, domain in (("imp1", "example.com"), ("imp2", "example.net"), ("imp3", "example.com")):
            self.pki.issue(host, "uc-ca", (f"{host}.example.com", domain, f"conference.{domain}"))
        for domain in THEIRS:
            self.pki.issue(domain, "public-ca", (domain, f"conference.{domain}"), usage="both")

    def bad_certificate(self, flaw, domain="double.org"):
        """(certificate, key) of a partner: expired, foreign, wrong-name, wrong-usage."""
        name = f"{domain}-{flaw}"
        self.pki.issue(name, "foreign-ca" if flaw == "foreign" else "public-ca",
                       ("mallory.example.net",) if flaw == "wrong-name" else (domain,),
                       PAST if flaw == "expired" else None, "mail" if flaw == "wrong-usage" else "both")
        return self.pair_of(name)

    def pair_of(self, name):
        return self.pki.cert(name), self.pki.key(name)

    def _make_servers(self, servers, nodes, inside):
        ca = self.pki.cert("uc-ca")
        if "prosody" in servers:
            for node in nodes:
                self.servers[node] = Prosody(
                    self.lab.uc, node, ADDRESS[f"{node}.example.com"], ["example.com"], self.pair_of(node), ca,
                    **{"federation": "any", **inside.get("prosody", {})})
        if "ejabberd" in servers:
            self.servers["imp2"] = Ejabberd(
                self.lab.uc, "imp2", ADDRESS["imp2.example.com"], ["example.net"], self.pair_of("imp2"), ca,
                **{"federation": "any", **inside.get("ejabberd", {})})

    def _make_partners(self, partners, outside):
        for domain in partners:
            kind = Ejabberd if domain == "other.org" else Prosody
            self.partners[domain] = kind(
                self.lab.inet, domain, ADDRESS[f"xmpp.{domain}"], [domain], self.pair_of(domain), self.ca,
                **{"federation": "any", **outside.get(domain, {})})

    def _records(self, more):
        edge = "edge1.example.com."
        outside_own = "_xmpps-client._tcp IN SRV 10 10 5222 edge1\n" + SERVER_RECORDS.format(port=5269, host=edge)
        outside, inside = {}, {}
        for domain in OURS[1:]:
            outside[domain] = CLIENT_RECORDS.format(host=edge) + SERVER_RECORDS.format(port=5269, host=edge)
        inside["example.net"] = "_xmpp-client._tcp IN SRV 10 10 5222 imp2.example.com.\n"
        for domain in THEIRS:
            outside[domain] = (SERVER_RECORDS.format(port=5269, host="xmpp")
                               + f"xmpp IN A {ADDRESS[f'xmpp.{domain}']}\n" + more.get(domain, ""))
        outside["servfail.org"] = BROKEN_ZONE
        for domain in THEIRS + NOBODY:  # the IM servers inside reach partners at C
            inside[domain] = SERVER_RECORDS.format(port=5269, host="core1.example.com.")
        inside_own = "_xmpp-client._tcp IN SRV 10 10 5222 imp1\n"
        return ({"inet": outside_own, "pbx": inside_own}, {"inet": outside, "pbx": inside})

    def _make_pair(self, servers, nodes, mode, words):
        words = {"pki": self.pki.folder, "edge_xmpp": "", "core_xmpp": "", "federation": "", "prosody": "",
                 "ejabberd": "", "double": "", "partner_sections": "",
                 "federates": "federation = yes" if self.partners else "", "mode": mode, "ca": "ca = uc",
                 "hosts": " ".join(f"{node}.example.com" for node in nodes), **words}
        if "tls = plain" in words["prosody"]:
            words["ca"] = ""
        words["servers"] = "".join(IM_SERVER[server].format(**words) for server in servers)
        more = {"domain_more": f"im = yes\n{words['federates']}"} if "prosody" in servers else {}
        return Pair(self.lab, self.pki, web=True, edge_more=EDGE.format(**words), core_more=CORE.format(**words),
                    **more)

    def wait_chat(self, deadline_s=15.0):
        """Every domain is announced and the pool stands."""
        self.edge.wait(lambda: len(self.idle_links()) >= 4, deadline_s, "idle connections of the pool")

    def idle_links(self):
        return [row for row in self.edge.connections("xmpp-link") if row["state"] == "idle"]

    # -- who chats

    def place(self, version=4, port=5222):
        edge = self.lab.dmz
        return (edge.v6 if version == 6 else edge.v4, port)

    def chat_host(self, netns, ca=None):
        if netns.name not in self._hosts:
            self._hosts[netns.name] = ChatHost(netns, ca or self.ca)
        return self._hosts[netns.name]

    def chatter(self, jid, netns=None, version=4, **more):
        """A slixmpp client outside, through the pair."""
        return self.chat_host(netns or self.lab.inet).client(jid, self.place(version), **more)

    def inside(self, jid, **more):
        """A slixmpp client in the office, at its server."""
        server = next(s for s in self.servers.values() if jid.partition("@")[2].partition("/")[0] in s.domains)
        return _at(self.chat_host(self.lab.desk, self.pki.cert("uc-ca")), server, jid, more)

    def partner(self, jid, **more):
        """A slixmpp client of a partner."""
        server = self.partners[jid.partition("@")[2].partition("/")[0]]
        return _at(self.chat_host(self.lab.inet), server, jid, more)

    def raw(self, to="spy.example", netns=None, version=4, **more):
        return XmppRaw(netns or self.lab.inet, self.place(version), to, self.ca, **more)

    def raw_partner(self, to="example.com", cert=None, **more):
        """Somebody who connects to E as a server; the name on the wire is the caller's."""
        return XmppRaw(self.lab.inet, self.place(port=5269), to, self.ca, content=SERVER, cert=cert, **more)

    def profanity(self, jid, netns=None, **more):
        return Profanity(netns or self.lab.inet, jid, self.ca, **more).start()

    def go(self, jid, netns=None, **more):
        return GoSendxmpp(netns or self.lab.inet, jid, self.ca, **more)

    # -- what the boxes say

    def streams(self, box=None):
        return (box or self.edge).connections("xmpp")

    def n_streams(self, box=None):
        """However many; streams() has no more than a listing has."""
        return (box or self.edge).ctl("status")["modules"]["xmpp"]["streams"]

    def no_streams(self, deadline_s=10.0):
        for box in (self.edge, self.core):
            box.wait(lambda b=box: not self.n_streams(b), deadline_s, "end of all chat streams")

    def setting(self, box=None, section="xmpp", **lines):
        """Lines of a section from now on (underscores for dashes; None takes one away), E's [xmpp] if not
        said otherwise."""
        box = box or self.edge

        def change(text):
            head, bracket, rest = text.partition(f"[{section}]\n")
            expect(bracket, "no section", section)
            body, bracket, tail = rest.partition("\n[")
            kept = [line for line in body.splitlines()
                    if line.partition("=")[0].strip().replace("-", "_") not in lines]
            kept += [f"{key.replace('_', '-')} = {value}" for key, value in lines.items() if value is not None]
            return f"{head}[{section}]\n" + "\n".join(kept) + "\n" + bracket + tail
        box.rewrite(change, reload=False)
        done = box.ctl("reload")
        expect(done.get("reloaded"), lines, done)

    def section(self, text, box=None, gone=False):
        """Adds a section (or takes one away that was added), and reloads."""
        box = box or self.core
        box.rewrite(lambda old: old.replace(text, "") if gone else old + text, reload=False)
        done = box.ctl("reload")
        expect(done.get("reloaded"), text, done)

    @contextlib.contextmanager
    def with_section(self, text, box=None):
        self.section(text, box)
        try:
            yield
        finally:
            self.section(text, box, gone=True)

    def traces_of(self, code, box=None):
        """How many entries there are, and the newest first."""
        found = (box or self.edge).traces(code)
        return sum(1 + entry["repeats"] for entry in found), found

    def firewall_is_clean(self):
        """Nothing was sent inside, not even to be dropped."""
        counters = self.lab.firewall.counters()
        expect(counters["dmz_to_lan_dropped"] == 0, counters)

    def close_hosts(self):
        for host in self._hosts.values():
            end(host.process)
        self._hosts = {}


def _at(host, server, jid, more):
    """A client at its server, without the pair."""
    address, port, direct = server.place
    return host.client(jid, (address, port), **{"direct": direct, **more})
