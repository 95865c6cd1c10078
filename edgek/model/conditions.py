"""Conditions of a Node that more than one part has to know by name."""

NETWORK_UNAVAILABLE = "NetworkUnavailable"
PEERS_UNREACHABLE = "PeersUnreachable"  # its reason where packets do not get through to any other node: such a node works on, alone
SOME_PEERS_UNREACHABLE = "SomePeersUnreachable"  # where some others answer; the condition does not hold then
