"""The column store: time-ordered columns in immutable segments behind one small manifest.

Files of a store::

    manifest.json    the truth: files, visible pieces, generation; replaced by rename
    seg/<number>.h5  immutable HDF5 segments, each made from one or several sources
    writer.lock      held by whoever writes

Two modes. *keep*: nothing is cut, sources may overlap in time, and the reader chooses among
them (ACA level-0 columns). *cut*: sources replace each other by rank, the visible rows have a
strictly increasing TIME (engineering telemetry). Readers take no lock and need no write access.

The engine keeps no table of ingested sources beside the segments: their heads say which sources
they hold.
"""

from acaflow.colstore.records import DamagedStoreError, Rows, Source, SourceRange
from acaflow.colstore.store import Store

__all__ = ["DamagedStoreError", "Rows", "Source", "SourceRange", "Store"]
