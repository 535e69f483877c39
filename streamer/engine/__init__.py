"""A batch through the nodes: records and open state in, records and changes out. No I/O."""
