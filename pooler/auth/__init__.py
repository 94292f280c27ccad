"""Login conversations, without I/O: how a client proves who it is, and how the pooler logs in to a server."""
