"""Long maintenance as durable operations: planned, carried out by steps, resumed, taken back."""
