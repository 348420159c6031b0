"""What an analysis finds, as values; services/analyze gathers them, faces show them."""
