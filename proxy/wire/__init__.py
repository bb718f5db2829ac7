"""SSE and JSON at the level of bytes. Pure: no socket, no clock, no table."""
