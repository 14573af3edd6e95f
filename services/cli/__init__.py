"""The `concert` command: one file a noun."""
