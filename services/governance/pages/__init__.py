"""The page on which anybody sees whether the partnership keeps its word."""
