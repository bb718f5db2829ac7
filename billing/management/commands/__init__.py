"""What `manage.py` can do for prices, usage and Lago."""
