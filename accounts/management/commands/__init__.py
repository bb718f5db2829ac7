"""What `manage.py` can do for accounts."""
