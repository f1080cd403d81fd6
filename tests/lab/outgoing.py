"""Whom a box connects to, by its kernel: every TCP connection a namespace begins, loopback included."""

import json

RULES = """
table inet outgoing {
  set opened {
    type ipv4_addr . inet_service
    flags dynamic
    counter
    size 4096
  }
  set opened6 {
    type ipv6_addr . inet_service
    flags dynamic
    counter
    size 4096
  }
  chain output {
    type filter hook output priority 0; policy accept;
    tcp flags & (syn | ack) == syn update @opened { ip daddr . tcp dport }
    tcp flags & (syn | ack) == syn update @opened6 { ip6 daddr . tcp dport }
  }
}
"""


class Outgoing:
    """Outgoing(lab.lan).opened() is {(address, port): packets} since the last forget()."""

    def __init__(self, netns):
        self.netns = netns
        netns.run(["nft", "-f", "-"], input=RULES)

    def forget(self):
        self.netns.run(["nft", "-f", "-"], input="flush set inet outgoing opened\n"
                                                 "flush set inet outgoing opened6\n")

    def opened(self):
        found = {}
        for name in ("opened", "opened6"):
            text = self.netns.run(["nft", "-j", "list", "set", "inet", "outgoing", name]).stdout
            for item in json.loads(text)["nftables"]:
                for element in item.get("set", {}).get("elem", []):
                    body = element["elem"]
                    found[tuple(body["val"]["concat"])] = body["counter"]["packets"]
        return found
