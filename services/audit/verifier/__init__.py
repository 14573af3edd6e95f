"""Says whether an access trail is sound; stands alone, with Python and `cryptography` and nothing else."""
