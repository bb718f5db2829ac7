"""The pages for everybody who signs in: their keys, their machines, what they used and may use."""
