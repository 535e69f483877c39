"""Which worker runs which task: a pure function of the facts, without clock or chance."""
