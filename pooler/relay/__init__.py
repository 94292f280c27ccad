"""Connections to clients and servers: asyncio protocols that read with `pooler.wire` and pair up through
`pooler.pool`.
"""
