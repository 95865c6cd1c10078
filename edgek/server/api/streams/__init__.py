"""What streams between a client and a node: logs, exec, attach, port-forward and proxies. WebSocket and SPDY end here; towards the node everything
goes through ``client.node.NodeDoor``.

``connectors.py`` is the table that the way of a request (``api/app.py``) is given.
"""
