"""The lab: network namespaces, throw-away keys and real peers for demo and system tests."""
