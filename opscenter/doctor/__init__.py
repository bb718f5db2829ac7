"""`manage.py doctor`: what is wrong with this installation, and what helps."""
