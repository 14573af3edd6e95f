"""Says whether an access trail is sound; stands alone with `schemas/trail` and `cryptography`."""
