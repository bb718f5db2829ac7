"""What `manage.py` can do for prices and what was charged by them."""
