"""What `manage.py` can do for upstreams and routes."""
