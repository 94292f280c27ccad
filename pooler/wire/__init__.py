"""The PostgreSQL protocol, version 3, without I/O: bytes in, values out. No sockets, no asyncio, no clock."""
