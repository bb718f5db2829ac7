"""How a tool call reaches the user's machine and comes back."""
