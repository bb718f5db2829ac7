"""The promises of the product, over real sockets, and what the tests stand on."""
