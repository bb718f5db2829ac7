"""What policy is made of: rules for paths and commands, digests that were seen, what is asked."""
