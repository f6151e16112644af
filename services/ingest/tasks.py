"""Which step does which task of queue ``ingest``; `acaflow.runtime.messages` has the routing."""

from acaflow.runtime.runs import bind
from services.ingest import steps

aca_l0_file = bind("ingest.aca_l0_file", steps.aca_l0_file)
unknown_file = bind("ingest.unknown_file", steps.unknown_file)
reconcile = bind("ingest.reconcile", steps.reconcile)
reindex_l0_file = bind("ingest.reindex_l0_file", steps.reindex_l0_file)
backup_ledger = bind("ingest.backup_ledger", steps.backup_ledger)
