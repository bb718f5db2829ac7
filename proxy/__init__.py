"""Which model answers, and how the answer is carried to the client."""
