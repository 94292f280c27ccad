"""What the tests stand on: servers, poolers and a raw client."""
