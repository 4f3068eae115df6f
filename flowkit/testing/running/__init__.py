"""Going through the clauses: as a call, as pytest items, as a command."""
