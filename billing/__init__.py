"""What was used: the ledger of requests and the writer that never loses a row."""
