"""What a running pooler needs from its host: sockets, DNS, logging, process control, command line."""
