"""The steps of `ops-connector doctor`, from the name of the gateway to the last local server."""
