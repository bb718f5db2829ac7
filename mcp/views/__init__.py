"""The HTTP pages of the tunnel: polling, registering, running tools, looking at what is there."""
