"""Ports for what a test starts itself."""

from deploy.local.ports import trial_ports


def free_port() -> int:
    """A port of loopback that nobody listens on, and that nobody else of these tests is given."""
    return trial_ports(["any"])["any"]
