"""slixmpp clients of one namespace, under orders: JSON lines on stdin, answers and events on stdout.

    {"id": 1, "client": "alice", "do": "open", "jid": ..., "password": ..., "host": ..., "port": ..., ...}
    -> {"answer": 1, "value": ...} or {"answer": 1, "error": "..."}
    -> {"client": "alice", "event": "message", "from": ..., ...}
Run with Debian's own python3, whose slixmpp it is.
"""

import asyncio
import json
import sys

import slixmpp
from slixmpp.xmlstream import XMLStream

SESSION = ("session_start", "session_resumed", "failed_auth", "disconnected", "connection_failed", "sm_enabled",
           "sm_failed", "stream_error", "ssl_invalid_chain", "failed_all_auth")


class Client(slixmpp.ClientXMPP):
    def __init__(self, name, tell, jid, password, host, port, ca, mechanism=None, direct=False, sm=True,
                 carbons=False):
        super().__init__(jid, password, sasl_mech=mechanism)
        self.name = name
        self.tell = tell
        self.place = (host, port)
        self.direct = direct
        self.carbons = carbons
        self.ca_certs = ca
        self.mechanism = None
        self.is_ready = False
        self.auto_authorize = self.auto_subscribe = True
        self.auto_reconnect = False
        self.register_plugin("xep_0030")
        self.register_plugin("xep_0045")
        self.register_plugin("xep_0199")
        self.register_plugin("xep_0280")
        if sm:
            self.register_plugin("xep_0198")
        for event in SESSION:
            self.add_event_handler(event, lambda data, event=event: self._session(event, data))
        self.add_event_handler("message", self._message)
        self.add_event_handler("message_error", self._message)
        self.add_event_handler("carbon_received", lambda m: self._carbon("carbon_received", m))
        self.add_event_handler("carbon_sent", lambda m: self._carbon("carbon_sent", m))
        self.add_event_handler("presence", self._presence)
        self.add_event_handler("roster_update", lambda iq: self._event(
            "roster", items={str(jid): item["subscription"] for jid, item in iq["roster"]["items"].items()}))

    async def _pick_dns_answer(self, domain, port=None):
        """Not by DNS; but the certificate is asked for the domain."""
        return (domain, *self.place)

    def open(self):
        XMLStream.connect(self, self.requested_jid.domain, self.place[1], use_ssl=self.direct,
                          force_starttls=not self.direct, disable_starttls=self.direct)

    def _event(self, event, **what):
        self.tell({"client": self.name, "event": event, **what})

    async def _begin(self):
        await self.get_roster()
        if self.carbons:
            await self.plugin["xep_0280"].enable()
        self.is_ready = False
        self.send_presence()

    def _session(self, event, data):
        if event == "disconnected":
            self.cancel_connection_attempt()
        self._event(event, text=str(data)[:500])
        if event == "session_start":
            asyncio.ensure_future(self._begin())

    def _message(self, message):
        self._event("message", **{"from": str(message["from"])}, to=str(message["to"]), type=message["type"],
                    body=message["body"], error=message["error"]["condition"] if message["type"] == "error" else None)

    def _carbon(self, event, message):
        inner = message[event]
        self._event(event, **{"from": str(inner["from"])}, to=str(inner["to"]), body=inner["body"])

    def _presence(self, presence):
        self._event("presence", **{"from": str(presence["from"])}, type=presence["type"])
        # A server takes a resource for one that is there when its presence has come (RFC 6121 section 4.2.2: it goes
        # to the one that sent it, too). ejabberd makes no carbons of what it sent to a resource before.
        if presence["from"] == self.boundjid and presence["type"] == "available" and not self.is_ready:
            self.is_ready = True
            self._event("ready", jid=str(self.boundjid))

    # -- orders

    async def do_message(self, to, body, kind="chat"):
        self.send_message(mto=to, mbody=body, mtype=kind)

    async def do_add(self, jid):
        """Asks for the presence of somebody, who is in the roster then."""
        self.send_presence_subscription(pto=jid)

    async def do_remove(self, jid):
        await self.del_roster_item(jid)

    async def do_roster(self):
        await self.get_roster()  # with versions the answer may be empty: nothing new
        return {jid: self.client_roster[jid]["subscription"] for jid in self.client_roster.keys()
                if jid != self.boundjid.bare}

    async def do_join(self, room, nick):
        await self.plugin["xep_0045"].join_muc_wait(room, nick, maxstanzas=0, timeout=10)

    async def do_ping(self, jid=None):
        await self.plugin["xep_0199"].send_ping(jid or self.boundjid.domain, timeout=8)

    async def do_features(self):
        return sorted(self.features)

    async def do_mechanism(self):
        return self.plugin["feature_mechanisms"].mech.name

    async def do_cut(self):
        """The socket is gone without a word."""
        self.transport.abort()

    async def do_reopen(self):
        self.open()

    async def do_quit(self):
        await asyncio.wait_for(self.disconnect(wait=2.0), 5)

    async def do_presence(self, show=None):
        self.send_presence(pshow=show)


async def serve():
    loop = asyncio.get_running_loop()
    clients = {}
    reader = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    def tell(what):
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()

    async def obey(order):
        number, name, do = order.pop("id"), order.pop("client"), order.pop("do")
        try:
            if do == "open":
                clients[name] = Client(name, tell, **order)
                clients[name].open()
                value = None
            else:
                value = await getattr(clients[name], "do_" + do)(**order)
            tell({"answer": number, "value": value})
        except Exception as error:  # pylint: disable=broad-except
            tell({"answer": number, "error": f"{type(error).__name__}: {error}"})

    tell({"answer": 0, "value": "ready"})
    while line := await reader.readline():
        asyncio.ensure_future(obey(json.loads(line)))


asyncio.run(serve())
