"""What people see of streams, letters and parts, and how they mend them; never a payload."""
