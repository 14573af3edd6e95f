"""The issuer of mode `local`: signs people in at consoles, and gives agencies' systems their tokens."""
