"""The far side of a fork, where commands are started and ended. Imports nothing else of ours."""
