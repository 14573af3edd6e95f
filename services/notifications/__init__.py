"""Tells duty desks by mail that an action is waiting, and nothing else; never contacts a survivor."""
