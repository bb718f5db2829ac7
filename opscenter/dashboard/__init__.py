"""The admin's first page: what the gateway has done, and what it does now."""
