"""What the user describes: streams, tables, windows, stores. Nothing here connects or opens."""
