"""What operations does on its store."""
