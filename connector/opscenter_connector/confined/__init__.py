"""What runs on the far side of a fork: it starts commands and ends them. Imports nothing of ours."""
