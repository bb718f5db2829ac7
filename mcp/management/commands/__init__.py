"""What `manage.py` can do for tool calls."""
