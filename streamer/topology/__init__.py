"""What the user describes: streams, tables, windows and stores. Pure: nothing here connects or opens."""
