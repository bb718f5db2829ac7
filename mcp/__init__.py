"""How does a tool call reach the user's machine and come back?"""
