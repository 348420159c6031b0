"""What other systems exported, as connectors-to-be with notes; read by services/import_connectors."""
