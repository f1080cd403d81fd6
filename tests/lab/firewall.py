"""The firewall between internet, DMZ and LAN: its rules, its counters, and the switch to cut C off.

Every packet that is let through is counted in the set `sent` (the direction that opened the flow)
or `answered`, under the interfaces, protocol and port the flow was opened to; what is refused goes
to `refused`. So the table at the end says who opened what, and that nothing was opened inward.
"""

import json

CORE_TO_EDGE_TCP = (7001, 7002, 7003, 7004, 2222, 7400)
CORE_TO_EDGE_UDP = tuple(range(36000, 36012))

RULES = """
table inet fw {
  counter lan_to_dmz_new { }
  counter dmz_to_lan_dropped { }
  counter inet_to_lan_dropped { }
  counter inet_to_dmz_new { }
  counter other_dropped { }
  counter cut_dropped { }

  set core_to_edge {
    type inet_proto . inet_service
    elements = { @ALLOWED@ }
  }
  set sent {
    typeof iifname . oifname . meta l4proto . th dport
    flags dynamic
    counter
    size 16384
  }
  set answered {
    typeof oifname . iifname . meta l4proto . th sport
    flags dynamic
    counter
    size 16384
  }
  set refused {
    typeof iifname . oifname . meta l4proto . th dport
    flags dynamic
    counter
    size 16384
  }

  chain cut {
    type filter hook forward priority -10; policy accept;
  }
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "lan" oifname "@EDGE@" ct state new jump core_out
    iifname "inet" oifname "dmz" ct state new counter name inet_to_dmz_new accept
    iifname "dmz" oifname "inet" accept
    meta l4proto { tcp, udp } update @refused { iifname . oifname . meta l4proto . th dport }
    iifname { "dmz", "dmz2" } oifname "lan" counter name dmz_to_lan_dropped drop
    iifname "inet" oifname "lan" counter name inet_to_lan_dropped drop
    counter name other_dropped drop
  }
  chain core_out {
    meta l4proto { icmp, ipv6-icmp } accept
    meta l4proto . th dport @core_to_edge counter name lan_to_dmz_new accept
  }
  chain account {
    type filter hook forward priority 10; policy accept;
    meta l4proto != { tcp, udp } accept
    ct direction original update @sent { iifname . oifname . meta l4proto . th dport }
    ct direction reply update @answered { oifname . iifname . meta l4proto . th sport }
  }
}
"""


class Firewall:
    """Handed out as Lab.firewall."""

    def __init__(self, netns, edge_interface):
        self.netns = netns
        self.edge_interface = edge_interface

    def load(self):
        allowed = [f"tcp . {port}" for port in CORE_TO_EDGE_TCP]
        allowed += [f"udp . {port}" for port in CORE_TO_EDGE_UDP]
        self._nft(RULES.replace("@ALLOWED@", ", ".join(allowed))
                       .replace("@EDGE@", self.edge_interface))

    def allow(self, proto, port):
        """Let the LAN open one more port on E (further traversal zones, other services)."""
        self._nft(f"add element inet fw core_to_edge {{ {proto} . {port} }}")

    def counters(self):
        """{name: packets} of the named counters; see RULES."""
        return {item["name"]: item["packets"] for item in self._list("counter", "counters")}

    def counter(self, name):
        return self.counters()[name]

    def flows(self):
        """What was let through: a list of dicts from, to, proto, port, packets, bytes (of the side
        that opened) and back_packets, back_bytes (of the answers)."""
        rows = {}
        for set_name, prefix in (("sent", ""), ("answered", "back_")):
            for key, packets, size in self._elements(set_name):
                row = rows.setdefault(key, {"from": key[0], "to": key[1], "proto": key[2],
                                            "port": key[3], "packets": 0, "bytes": 0,
                                            "back_packets": 0, "back_bytes": 0})
                row[prefix + "packets"] += packets
                row[prefix + "bytes"] += size
        return [rows[key] for key in sorted(rows)]

    def refused(self):
        """What was not: a list of dicts from, to, proto, port, packets, bytes."""
        return [{"from": key[0], "to": key[1], "proto": key[2], "port": key[3],
                 "packets": packets, "bytes": size}
                for key, packets, size in sorted(self._elements("refused"))]

    def flow(self, proto, port, origin="lan", target=None):
        """The row of one flow, or None."""
        target = target or self.edge_interface
        for row in self.flows():
            if (row["from"], row["to"], row["proto"], row["port"]) == (origin, target, proto, port):
                return row
        return None

    def cut(self, how="drop"):
        """Cut C off from E both ways: how = drop (silence) or reset (TCP RST, ICMP unreachable)."""
        self.restore()
        pair = "iifname %s oifname %s counter name cut_dropped"
        edge = f'"{self.edge_interface}"'
        for first, second in (('"lan"', edge), (edge, '"lan"')):
            match = pair % (first, second)
            if how == "reset":
                self._nft(f"add rule inet fw cut {match} meta l4proto tcp reject with tcp reset")
                self._nft(f"add rule inet fw cut {match} reject")
            else:
                self._nft(f"add rule inet fw cut {match} drop")

    def cut_port(self, port):
        """Break one TCP connection of C: what belongs to this source port is answered with RST, on
        both sides. Other connections go on."""
        self._nft(f"add rule inet fw cut tcp sport {port} reject with tcp reset\n"
                  f"add rule inet fw cut tcp dport {port} reject with tcp reset")

    def restore(self):
        self._nft("flush chain inet fw cut")

    def table(self):
        """The story of the firewall in text, for people."""
        lines = ["opened by  to    proto  port          packets   answers       bytes"]
        for row in _merge(self.flows()):
            lines.append(f"{row['from']:<10} {row['to']:<5} {row['proto']:<6} {row['port']:<11} "
                         f"{row['packets']:>9} {row['back_packets']:>9} "
                         f"{row['bytes'] + row['back_bytes']:>11}")
        for row in self.refused():
            lines.append(f"{row['from']:<10} {row['to']:<5} {row['proto']:<6} {row['port']:<11} "
                         f"{row['packets']:>9}   refused {row['bytes']:>11}")
        counters = self.counters()
        lines.append(f"new connections LAN -> DMZ let through: {counters['lan_to_dmz_new']}, "
                     f"packets DMZ -> LAN refused: {counters['dmz_to_lan_dropped']}, "
                     f"internet -> LAN refused: {counters['inet_to_lan_dropped']}")
        return "\n".join(lines)

    def _nft(self, text):
        self.netns.run(["nft", "-f", "-"], input=text)

    def _list(self, kind, *what):
        answer = json.loads(self.netns.run(["nft", "-j", "list", *what]).stdout)
        return [item[kind] for item in answer["nftables"] if kind in item]

    def _elements(self, set_name):
        """Yields ((from, to, proto, port), packets, bytes)."""
        for element in self._list("set", "set", "inet", "fw", set_name)[0].get("elem", []):
            body = element["elem"]
            yield tuple(body["val"]["concat"]), body["counter"]["packets"], body["counter"]["bytes"]


def _merge(rows):
    """Media ports of phones come by the dozen; show neighbours of one kind as one line."""
    merged = []
    for row in rows:
        row = dict(row, port=str(row["port"]), ports={row["port"]})
        last = merged[-1] if merged else None
        same = last and all(last[key] == row[key] for key in ("from", "to", "proto"))
        if same and row["proto"] == "udp" and min(last["ports"]) >= 36002:
            for key in ("packets", "bytes", "back_packets", "back_bytes"):
                last[key] += row[key]
            last["ports"] |= row["ports"]
            last["port"] = f"{min(last['ports'])}-{max(last['ports'])}"
        else:
            merged.append(row)
    return merged
