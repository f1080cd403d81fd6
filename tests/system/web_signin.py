#!/usr/bin/env python3
"""Signing in from outside: the whole exchange of remote access, who may, who may not, and why."""

import email.utils
import json
import os
import pathlib
import re
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.kamailio import Kamailio
from lab.mra_client import SERVICES, UUID, check_cookie, servers_of
from lab.phone import Phone
from lab.play import Play, expect
from lab.webcast import WebCast
from lab.webclient import basic, through, token

play = Play()
CONFIG = f"/{token('example.com')}/get_edge_config?service_name=_cisco-uds"


def stage(lab):
    return WebCast(lab, origins=("nginx",), allow=("web1", "photos"))


def challenged(answer):
    """401 as clients of remote access expect it, and nothing given away."""
    expect(answer.status == 401, answer)
    expect(answer.get("www-authenticate", "").startswith('Basic realm="Cisco-Edge"'), answer)
    expect(not answer.all("set-cookie"), answer)
    expect("alice" not in answer.text and "cucm" not in answer.text, answer)


def once(c, user, password, domain="example.com", **more):
    """One sign-in on a connection of its own."""
    client = c.client(user, password=password, signed_in=False, **more)
    client.domain = domain
    answer = client.ask_config()
    client.web.close()
    return answer


@play.check
def whole_sign_in(c):
    """SRV, sign-in, home, devices, servers, directory, configuration files, voicemail, presence, photo"""
    client = c.client(signed_in=False)
    learnt = client.whole_sign_in()
    expect(learnt["home"] == "cucm1.example.com" or learnt["home"] == "cucm2.example.com", learnt)
    expect(learnt["devices"] == ["CSFALICE", "SEP616C69636500"], learnt)
    expect(learnt["servers"] == ["cucm1.example.com", "cucm2.example.com"], learnt)
    expect(learnt["found"] == ["bob"] and learnt["messages"] == 1, learnt)
    expect({"cucm1.example.com", "cucm2.example.com"} <= set(learnt["tftp"]), learnt)
    c.firewall_is_clean()
    flows = {(f["from"], f["to"], f["port"]) for f in c.lab.firewall.flows() if f["from"] == "lan"}
    expect(flows <= {("lan", "dmz", 7001), ("lan", "dmz", 2222)} | {
        ("lan", "dmz", port) for port in (36000, 36001)}, flows)
    c.whole = client


@play.check
def one_session_id(c):
    """after it her phone registers by SIP: sign-in, web requests and registration share one session id on both boxes"""
    client = c.client("carol")
    client.photo("https://photos.example.com/bob.jpg")
    phone = Phone(c.lab.inet, "carol", "carol-secret", (c.lab.dmz.v4, 5061), transport="tls",
                  mediaenc="srtp-mand", hz=880).start()
    phone.wait_registered()
    ids = set()
    for box in (c.edge, c.core):
        row = c.session_row(box, "carol")
        expect(re.fullmatch("[0-9a-f]{32}", row["session"]), row)
        ids.add(row["session"])
        same = [r for r in box.connections() + box.connections(ended=True)
                if r["session"] == row["session"]]
        kinds = {r["kind"] for r in same}
        expect({"signin", "registration", "http", "request"} <= kinds, box.name, kinds, same)
        expect(all(r["user"].split("@")[0] == "carol" for r in same if r["user"]), same)
    expect(len(ids) == 1, "the ids differ:", ids)
    # the id is no secret, the cookie is one: it is nowhere to be seen
    for box in (c.edge, c.core):
        expect(client.cookie not in json.dumps(box.connections()), "the cookie is listed")
        expect(client.cookie not in box.log_text(), "the cookie is in the log of", box.name)
        expect("carol-secret" not in box.log_text(), "a password is in the log of", box.name)
    phone.stop()
    client.log_out()


@play.check
def spellings(c):
    """both base64 alphabets, with and without padding, a trailing slash, a domain in capitals"""
    for how in ({"url_safe": True}, {"url_safe": False}, {"padding": True}, {"slash": True}):
        expect(c.client(signed_in=False).ask_config(**how).status == 200, how)
    client = c.client(signed_in=False)
    client.domain = "Example.COM"
    expect(client.ask_config().status == 200, "capitals")


@play.check
def asked_services(c):
    """each asked service is answered from DNS inside, one that is not there with an error, in the order asked"""
    config = c.client(signed_in=False).sign_in(SERVICES)
    expect(servers_of(config, "_cisco-uds") == [("cucm1.example.com", 8443),
                                                 ("cucm2.example.com", 8443)], "_cisco-uds")
    expect(servers_of(config, "_cuplogin") == [("imp1.example.com", 8443)], "_cuplogin")
    expect(servers_of(config, "_cisco-phone-tftp")[0][0] == "cucm1.example.com", "tftp")
    config = c.client(signed_in=False).sign_in(("_nowhere", "_cisco-uds"))
    expect(servers_of(config, "_nowhere") is None, "_nowhere")


@play.check
def bad_questions(c):
    """wrong method, unknown service, bad token, bad service names: 4xx each, and E goes on"""
    client = c.client()
    base = f"/{token('example.com')}"
    for method, target, status in (
            ("POST", f"{base}/get_edge_config", 405), ("GET", f"{base}/nothing", 404),
            ("GET", "/", 404), ("GET", "/favicon.ico", 404), ("GET", "/%41%41/x", 404),
            ("GET", f"/{token('example.com/https/web1.example.com')}/x", 404),
            ("GET", f"/{token('example.com/ftp/web1.example.com/21')}/x", 404),
            ("GET", f"/{token('example.com/https/web1.example.com/0')}/x", 404),
            ("GET", f"/{token('example.com/https/web1.example.com/443/x')}/x", 404),
            ("GET", f"{base}/get_edge_config?service_name=<script>", 400),
            ("GET", f"{base}/get_edge_config?" + "&".join(["service_name=_a"] * 9), 400)):
        answer = client.web.ask(method, target, body=b"" if method == "POST" else None)
        expect(answer.status == status, method, target, answer)


@play.check
def wrong_password(c):
    """wrong password, unknown user, empty password, no credentials: 401, realm Cisco-Edge, the same for all"""
    answers = [once(c, "bob", "guess", netns=c.lab.home), once(c, "nobody", "guess", netns=c.lab.home),
               once(c, "bob", "", netns=c.lab.home)]
    answers.append(c.stranger().ask("GET", CONFIG))
    for answer in answers:
        challenged(answer)
    expect(answers[0].text == answers[1].text, "an unknown user is told apart")
    for line in ("Basic", "Basic !!!", "Basic YWxpY2U", "Bearer x", "Basic " + "A" * 5000):
        answer = c.stranger().ask("GET", CONFIG, [("Authorization", line)])
        expect(answer.status in (400, 401), line[:20], answer)
    expect(c.edge.traces("http.signin.denied"), "no trace")


@play.check
def unknown_domain(c):
    """a domain that is not served: 403, before any password is looked at"""
    c.uc.forget()
    for domain in ("other.example", "example.com.evil.example", "sub.example.com"):
        answer = once(c, "alice", "alice-secret", domain)
        expect(answer.status == 403 and not answer.all("set-cookie"), answer)
    expect(not c.uc.requests(), "somebody inside was asked", c.uc.requests())
    expect(c.edge.traces("http.domain.unknown"), "no trace")


@play.check
def nobody_gets_in(c):
    """every URL of the allow list without sign-in, with a made-up cookie, with one of another domain: 401 and not a byte inside"""
    c.origins.forget()
    c.uc.forget()
    c.outgoing.forget()
    urls = ("https://web1.example.com/pages/index.html", "https://photos.example.com/alice.jpg",
            "https://cucm1.example.com:8443/cucm-uds/user/alice/devices",
            "http://cucm1.example.com:6970/jabber-config.xml", "https://cuc1.example.com/vmrest/messages")
    cookies = ([], [("Cookie", "X-Auth=00000000-0000-4000-8000-000000000000")],
               [("Cookie", "X-Auth=")], [("Cookie", "X-Auth=" + "a" * 4000)])
    for url in urls:
        for cookie in cookies:
            challenged(c.stranger().ask("GET", through(url), cookie))
    expect(not c.origins.rows() and not c.uc.requests(), c.origins.rows(), c.uc.requests())
    expect(not [a for a in c.outgoing.opened() if a[0].startswith("10.20.0.6")], c.outgoing.opened())


@play.check
def cache_saves_questions(c):
    """50 sign-ins of one user ask the call manager once; a wrong password in between is still wrong"""
    c.uc.forget()
    clients = [c.client("dave") for _ in range(50)]
    asked = c.uc.authentications()
    expect(len(asked) <= 2, f"{len(asked)} of 50 sign-ins asked upstream")
    expect(once(c, "dave", "dave-secreT", netns=c.lab.nat).status == 401, "the cache let him in")
    for client in clients:
        client.web.close()
    expect(len([r for r in c.edge.connections("signin") if r["user"].startswith("dave")]) == 1,
           "one source, one user, but several sessions")


@play.check
def changed_password(c):
    """a password that changed inside: the first 401 of a backend empties the cache; the old one is refused, the new one works"""
    client = c.client("bob")
    c.uc.password("bob", "bob-new")
    answer = client.get("https://cucm1.example.com:8443/cucm-uds/user/bob/devices", credentials=True)
    expect(answer.status == 401, answer)
    expect(once(c, "bob", "bob-secret").status == 401, "the old password still works")
    expect(once(c, "bob", "bob-new", netns=c.lab.nat).status == 200, "the new password does not work")
    c.uc.restore()


@play.check
def upstream_down(c):
    """call managers that are stopped, hang, break off, answer 500 or show a wrong certificate: 503 and never 401; then it works"""
    for mode in ("stopped", "drop", "500", "503", "wrong-certificate", "hang"):
        drop_cache(c, "carol", "cucm1")  # what is cached would answer
        c.uc.mode("*", mode)
        start = time.monotonic()
        client = c.client("carol", signed_in=False)
        client.web = c.stranger(timeout=60)
        answer = client.ask_config()
        took = time.monotonic() - start
        expect(answer.status == 503 and not answer.all("set-cookie"), mode, answer)
        expect(took < 45, mode, f"took {took:.0f} s")
        c.uc.restore()
        c.edge.wait(lambda: once(c, "carol", "carol-secret").status == 200, 45,
                    f"sign-in after {mode}")
    expect(c.edge.traces("http.signin.unavailable"), "no trace")


@play.check
def memory_keeps_no_password(c):
    """nothing keeps a password: once others have signed in after her, hers is nowhere in the memory of either box, while her session goes on"""
    password = "needle-" + "".join(chr(ord("a") + byte % 26) for byte in os.urandom(16))
    code = basic("carol", password)[6:]
    c.uc.password("carol", password)
    client = c.client("carol", password=password)
    expect(once(c, "carol", password + "x").status == 401)
    client.web.close()
    for n in range(60):  # what was freed is not wiped everywhere, but it is used again
        for user in ("bob", "dave"):
            other = c.client(user)
            other.photo("https://photos.example.com/bob.jpg")
            if n % 2:
                other.log_out()
            other.web.close()
    needles = (password.encode(), code.encode(), code[8:-4].encode())
    for box in (c.edge, c.core):
        known = c.session_row(box, "carol")["session"].encode()
        expect(box.memory_has(known) == {known}, "the search finds nothing")
        expect(box.sanitized() or not box.memory_has(*needles), box.name, "has", box.memory_has(*needles))
        expect(password not in box.log_text() and code not in box.log_text(), "it is in the log of", box.name)
    expect(client.photo("https://photos.example.com/bob.jpg").status == 200)
    client.log_out()
    c.uc.restore()


def drop_cache(c, user, home):
    """C forgets what it keeps of a password: by a 401 of a backend."""
    client = c.client(user)
    c.uc.password(user, "something else")
    client.get(f"https://{home}.example.com:8443/cucm-uds/user/{user}/devices", credentials=True)
    c.uc.restore()
    client.log_out()


@play.check
def second_cluster(c):
    """a user of the second cluster signs in while the first node that is asked is down"""
    for host in ("cucm1", "cucm2"):
        drop_cache(c, "dave", "cucm3")
        c.uc.mode(host, "stopped")
        client = c.client("dave", signed_in=False)
        client.sign_in()
        expect(client.home_user("cucm3.example.com") == "cucm3.example.com", "home")
        expect(client.devices("cucm3.example.com")[0] == "CSFDAVE", "devices")
        c.uc.restore()
        client.log_out()


@play.check
def logs_out(c):
    """logout takes the cookie back, ends the session on both boxes, and the cookie is worth nothing"""
    client = c.client()
    cookie = client.cookie
    client.photo()
    answer = client.log_out()
    line = next(x for x in answer.all("set-cookie") if x.startswith("X-Auth="))
    expires = email.utils.parsedate_to_datetime(re.search("Expires=([^;]*)", line)[1])
    expect(cookie not in line and expires.timestamp() < time.time(), line)
    challenged(client.get("https://photos.example.com/alice.jpg"))
    for box in (c.edge, c.core):
        box.wait(lambda b=box: not [r for r in b.connections("signin") if r["user"].startswith("alice")],
                 10, "end of the session")
        ended = [r for r in box.connections(ended=True) if r["kind"] == "signin"
                 and r["user"].startswith("alice")]
        expect(ended and ended[-1]["reason"], box.name, "does not list the end")


@play.check
def disconnects(c):
    """turnpikectl sessions lists who is signed in; disconnect ends a session: 401 from then on"""
    client = c.client()
    expect("alice" in json.dumps(c.core.ctl("sessions")), c.core.ctl("sessions"))
    expect("alice" in json.dumps(c.edge.ctl("sessions")), c.edge.ctl("sessions"))
    c.core.ctl("disconnect", c.session_row(c.core, "alice")["id"])
    c.edge.wait(lambda: client.get("https://photos.example.com/alice.jpg").status == 401, 10, "401")


@play.check
def two_sources(c):
    """one user from two places has two sessions; ending one leaves the other"""
    first, second = c.client(), c.client(netns=c.lab.nat)
    expect(first.cookie != second.cookie, "one cookie for two places")
    first.log_out()
    expect(second.photo().status == 200)
    second.log_out()


@play.check
def guessing(c):
    """guessed passwords are slowed down (429, Retry-After) by user and source; the user himself gets in from elsewhere"""
    statuses = [once(c, "alice", f"guess-{n}", netns=c.lab.home) for n in range(12)]
    codes = [a.status for a in statuses]
    expect(codes[0] == 401 and codes[-1] == 429, codes)
    expect(int(statuses[-1].get("retry-after", "0")) > 0, statuses[-1])
    expect(once(c, "alice", "alice-secret", netns=c.lab.inet).status == 200, "alice is locked out")
    expect(once(c, "bob", "bob-secret", netns=c.lab.home).status == 200,
           "others behind the same address are locked out")


class From:
    """A namespace, from one of its addresses."""

    def __init__(self, netns, address):
        self.netns = netns
        self.address = address

    def connect(self, address, timeout=3.0):
        sock = self.netns.socket()
        sock.settimeout(timeout)
        sock.bind((self.address, 0))
        sock.connect(address)
        return sock


@play.check
def stuffing(c):
    """ten sources try passwords of thirty users: each source is held up after 10 failures; who signs in from elsewhere, or is signed in there, never is"""
    sources = [f"198.51.100.{n}" for n in range(101, 111)]
    users = ["alice", "bob", *(f"user{n}" for n in range(28))]
    c.edge.edit("source-failures = 0", "source-failures = 10")
    for address in sources:
        c.lab.inet.run(["ip", "addr", "add", f"{address}/24", "dev", "eth0"])
    inside = c.client("carol", netns=From(c.lab.inet, sources[0]))
    codes = {address: [] for address in sources}

    def attack(address):
        for user in users:
            codes[address].append(once(c, user, "letmein", netns=From(c.lab.inet, address)).status)
    try:
        threads = [threading.Thread(target=attack, args=(address,), daemon=True) for address in sources]
        for thread in threads:
            thread.start()
        n_good = 0
        while any(thread.is_alive() for thread in threads):
            answer = once(c, "dave", "dave-secret", netns=c.lab.nat)
            expect(answer.status == 200, "dave is held up", answer)
            expect(inside.photo("https://photos.example.com/bob.jpg").status == 200)
            n_good += 1
        for address, said in codes.items():
            expect(said.count(401) <= 11 and set(said[12:]) == {429}, address, said)
        expect(once(c, "alice", "alice-secret").status == 200 and n_good >= 3, n_good)
    finally:
        for address in sources:
            c.lab.inet.run(["ip", "addr", "del", f"{address}/24", "dev", "eth0"])
        c.edge.edit("source-failures = 10", "source-failures = 0")


@play.check
def rate_of_sign_ins(c):
    """with a limit of 3 sign-ins in 300 s the fourth gets 429 with Retry-After, other users none"""
    c.core.edit("rate = 0\n", "rate = 3\nrate-period = 300s\n")
    answers = []
    for n in range(5):
        answer = once(c, "dave", "dave-secret", netns=c.lab.nat)
        answers.append(answer.status)
        if answer.status == 200:
            signed = c.client("dave", netns=c.lab.nat, signed_in=False)
            signed.web.fields = [("Cookie", f"X-Auth={check_cookie(answer)}")]
            signed.log_out()
    expect(answers[:3] == [200, 200, 200] and answers[-1] == 429, answers)
    expect(int(answer.get("retry-after", "0")) > 0, answer)
    expect(once(c, "carol", "carol-secret", netns=c.lab.nat).status == 200, "carol was limited, too")
    c.core.edit("rate = 3\nrate-period = 300s\n", "rate = 0\n")


@play.check
def phone_needs_sign_in(c):
    """sip-signin: a phone registers only when its user has signed in, and with that password"""
    c.core.edit("web = yes\n", "web = yes\nsip-signin = yes\n")
    for row in c.core.connections("signin"):  # of earlier checks, from anywhere
        if row["user"].startswith("bob@"):
            c.core.ctl("disconnect", row["id"])
    c.edge.wait(lambda: not [r for r in c.edge.connections("signin") if r["user"].startswith("bob@")], 10,
                "end of bob's sessions")
    try:
        phone = Phone(c.lab.inet, "bob", "bob-secret", (c.lab.dmz.v4, 5061), transport="tls",
                      mediaenc="srtp-mand", hz=660, name="bob-early").start()
        phone.wait_refused(403)
        phone.kill()
        client = c.client("bob")
        phone = Phone(c.lab.inet, "bob", "bob-secret", (c.lab.dmz.v4, 5061), transport="tls",
                      mediaenc="srtp-mand", hz=660, name="bob-late").start()
        phone.wait_registered()
        phone.stop()
        wrong = Phone(c.lab.inet, "bob", "guess", (c.lab.dmz.v4, 5061), transport="tls",
                      mediaenc="srtp-mand", hz=660, name="bob-wrong").start()
        wrong.wait_refused(403)
        wrong.kill()
        client.log_out()
    finally:
        c.core.edit("sip-signin = yes\n", "")


@play.check
def domain_gate(c):
    """web = no: 403 for the domain at once, its sessions end; back to yes: 200"""
    client = c.client()
    c.core.edit("web = yes\n", "web = no\n")
    c.edge.wait(lambda: once(c, "alice", "alice-secret").status == 403, 10, "403")
    expect(client.get("https://photos.example.com/alice.jpg").status in (401, 403), "still served")
    c.core.edit("web = no\n", "web = yes\n")
    c.edge.wait(lambda: once(c, "alice", "alice-secret").status == 200, 10, "200")


@play.check
def found_by_srv(c):
    """discovery by SRV: the whole sign-in works without a call manager in the configuration"""
    c.discovery("srv")
    c.wait_nodes("cucm1", "cucm2", "imp1", absent=("cucm3",))
    learnt = c.client("alice", signed_in=False).whole_sign_in()
    expect(learnt["servers"] == ["cucm1.example.com", "cucm2.example.com"], learnt)


@play.check
def found_by_axl(c):
    """discovery by AXL: nodes, roles and zones come from the publisher; the whole sign-in works"""
    c.discovery("axl", uc_sip="yes")
    c.wait_nodes("cucm1", "cucm2", "imp1", absent=("cucm3",))
    c.client("alice", signed_in=False).whole_sign_in()
    zones = {z["name"] for z in c.core.ctl("zones")["zones"]}
    expect({"CEtcp-cucm1.example.com", "CEtcp-cucm2.example.com"} <= zones, zones)
    expect(not [z for z in zones if z.startswith("CEtls-")], zones)


@play.check
def refresh_in_background(c):
    """a node that left and TLS lines that came show after uc-refresh only; a publisher that hangs holds up no sign-in"""
    c.uc.remove("cucm2")
    c.uc.mixed("main")
    time.sleep(2)  # nothing may change by itself in it
    c.wait_nodes("cucm2")
    c.core.ctl("uc-refresh")
    c.wait_nodes("cucm1", absent=("cucm2",))
    zones = c.core.wait(lambda: [z["name"] for z in c.core.ctl("zones")["zones"]
                                 if z["name"].startswith("CEtls-")], 10, "CEtls zone")
    expect(zones == ["CEtls-cucm1.example.com"], zones)
    c.uc.restore()
    c.core.ctl("uc-refresh")
    c.wait_nodes("cucm1", "cucm2")
    c.uc.mode("cucm1", "hang")
    c.core.ctl("uc-refresh")
    start = time.monotonic()
    c.client("alice", signed_in=False).sign_in()
    expect(time.monotonic() - start < 3, f"held up for {time.monotonic() - start:.1f} s")
    c.uc.restore()
    c.wait_nodes("cucm1", "cucm2")


@play.check
def registers_at_the_call_manager(c):
    """sip = uc: the phone of a user who signed in registers at a discovered call manager through its CEtcp zone"""
    c.core.ctl("uc-refresh")
    registrar = Kamailio(c.lab.uc, name="kamailio-cucm1").start()
    c.core.edit("sip = zone:pbx", "sip = uc")
    client = c.client("alice")
    phone = Phone(c.lab.inet, "alice", "alice-secret", (c.lab.dmz.v4, 5061), transport="tls",
                  mediaenc="srtp-mand", hz=440, name="alice-uc").start()
    phone.wait_registered(30)
    expect(len(registrar.contacts("alice")) == 1, registrar.contacts("alice"))
    phone.stop()
    client.log_out()
    c.core.edit("sip = uc", "sip = zone:pbx")


@play.check
def users_in_the_file(c):
    """authentication = users: [web-user] with argon2id; the same password signs in, a wrong one does not"""
    from lab.pair import password_hash
    c.core.rewrite(lambda text: text.replace("authentication = uds", "authentication = users") +
                   "\n[web-user zoe@example.com]\n"
                   f"password-hash = {password_hash('zoe-secret')}\n")
    c.edge.wait(lambda: once(c, "zoe", "zoe-secret").status == 200, 10, "sign-in of zoe")
    challenged(once(c, "zoe", "guess"))
    challenged(once(c, "carol", "carol-secret"))  # she is not in the file


@play.check
def any_basic_server(c):
    """authentication = basic: 2xx signs in, 401 does not, what is down is 503"""
    c.core.rewrite(lambda text: text.partition("\n[web-user ")[0].replace(
        "authentication = users", "authentication = basic\nauthentication-tls = uc\n"
        "authentication-url = https://cuc1.example.com/vmrest/mailbox"))
    c.edge.wait(lambda: once(c, "alice", "alice-secret").status == 200, 10, "sign-in of alice")
    challenged(once(c, "dave", "guess"))
    c.uc.mode("cuc1", "stopped")
    expect(once(c, "bob", "bob-secret").status == 503, "not 503")
    c.uc.restore()


@play.check
def nothing_came_in(c):
    """the firewall dropped nothing from E to C: E never tried"""
    c.firewall_is_clean()
    for box in (c.edge, c.core):
        for secret in ("alice-secret", "bob-new", "zoe-secret", basic("alice", "alice-secret")[6:]):
            expect(secret not in box.log_text(), "a password is in the log of", box.name)
            for command in (["connections"], ["connections", "--ended"], ["trace"], ["sessions"], ["alarms"], ["status"],
                            ["counters"], ["tunnels"]):
                expect(secret not in json.dumps(box.ctl(*command)), "a password is in", command, "of", box.name)
    expect(re.fullmatch(UUID, c.whole.cookie), c.whole.cookie)
    expect(c.whole.cookie not in c.core.log_text(), "a cookie is in the log of C")


if __name__ == "__main__":
    sys.exit(play.run(stage))
