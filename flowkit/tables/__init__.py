"""Mixed tables: from a frame to a trained flow of its rows."""

from flowkit.tables.detector import Detector
from flowkit.tables.fit import fit_table, table_flow
from flowkit.tables.pyod_detector import PyODDetector
from flowkit.tables.table_flow import TableFlow

__all__ = ["Detector", "PyODDetector", "TableFlow", "fit_table", "table_flow"]
