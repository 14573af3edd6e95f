"""How Concert is put into operation."""
