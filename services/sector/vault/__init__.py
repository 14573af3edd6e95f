"""The vault: the one process of a sector that opens packets, and only into an envelope for an agency's key.

It has no network, no database and no broker; its service asks it over a Unix socket. It checks by itself
whatever a release rests on, and one failure refuses the whole release.
"""
