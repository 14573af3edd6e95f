"""`concert demo`: the main job on real input, under kills, checked from the outside."""
