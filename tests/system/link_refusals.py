#!/usr/bin/env python3
"""A traversal peer that is not who it should be is refused, and both sides say exactly why."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.kamailio import Kamailio
from lab.pair import Pair
from lab.pki import Pki
from lab.play import Play, expect

play = Play()


class Stage:
    def __init__(self, lab):
        self.lab = lab
        self.pki = Pki(lab.work / "pki")
        self.pbx = Kamailio(lab.pbx).start()


def refused(s, core_says, edge_says, **edit):
    pair = Pair(s.lab, s.pki, **edit)
    try:
        pair.start(wait=False)
        for box, zone, words in ((pair.core, "to-edge", core_says), (pair.edge, "to-core", edge_says)):
            def says(box=box, zone=zone, words=words):
                reason = box.zone(zone)["reason"]
                return all(word in reason for word in words)
            try:
                box.wait(says, 10)
            except TimeoutError:
                raise AssertionError(f"{box.name} says: {box.zone(zone)}, not {words}") from None
            expect(not box.zone(zone)["state"].startswith("Active"), box.zone(zone))
    finally:
        pair.stop()


@play.check
def wrong_core_name(s):
    """C's certificate carries another name"""
    refused(s, ["close"], ["core1.example.com", "name"], core_cert="core-pair-wrong-name")


@play.check
def wrong_edge_name(s):
    """E's certificate carries another name"""
    refused(s, ["edge1.example.com", "name"], [""], edge_cert="edge-pair-wrong-name")


@play.check
def expired_core(s):
    """C's certificate has expired"""
    refused(s, ["expired"], ["expired"], core_cert="core-pair-expired")


@play.check
def expired_edge(s):
    """E's certificate has expired"""
    refused(s, ["expired"], ["expired"], edge_cert="edge-pair-expired")


@play.check
def foreign_core(s):
    """C's certificate comes from a foreign CA"""
    refused(s, ["unknown"], ["not signed"], core_cert="core-pair-foreign")


@play.check
def foreign_edge(s):
    """E's certificate comes from a foreign CA"""
    refused(s, ["not signed"], ["unknown"], edge_cert="edge-pair-foreign")


@play.check
def wrong_password(s):
    """C knows another password"""
    refused(s, ["password"], ["wrong password"], core_password="guess")


if __name__ == "__main__":
    sys.exit(play.run(Stage))
