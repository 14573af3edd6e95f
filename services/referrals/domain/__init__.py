"""Pure rules of the arbiter: no IO, no clock, no randomness."""
