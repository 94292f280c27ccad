"""The token test: many clients, every form of the protocol, every disturbance, and no row for the wrong one.

Each query asks for a token that only its client and its place in the client's sequence know. Whatever happens
to a pooler, its servers and other clients, a client may be told that its query failed or may lose its
connection, where something has happened that explains it. It may never see a reply that is not its own, or
miss one, or get them out of order.
"""
