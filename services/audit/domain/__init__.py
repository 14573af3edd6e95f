"""The trail's pure rules: the growing tree, sealing, notes and what one group of entries becomes."""
