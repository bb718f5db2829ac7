"""Who is calling: organizations, members, API keys and the Principal they become."""
