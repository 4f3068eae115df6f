"""Mixed tables: from a frame to a trained flow of its rows."""

from flowkit.tables.fit import fit_table, table_flow
from flowkit.tables.table_flow import TableFlow

__all__ = ["TableFlow", "fit_table", "table_flow"]
