"""A process of the table that ends at once: `python -m tests.support.short_lived`."""

import sys

if __name__ == "__main__":
    sys.exit("short_lived: this is the last line")
