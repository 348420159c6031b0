"""What services/validate finds, as values, and the pure readings of plan and Attempts that make them."""
