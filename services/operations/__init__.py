"""Shows operators how streams and services stand, and does with a second look what they decide."""
