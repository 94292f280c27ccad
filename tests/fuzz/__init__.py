"""Login under attack, without sockets: the same short run in `make test`, at length behind `make fuzz`."""
