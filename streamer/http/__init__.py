"""A worker's HTTP server: queries of its stores, its health and its metrics."""
