"""Which step does which task of queue ``ingest``; `acaflow.runtime.messages` has the routing."""

from acaflow.runtime.runs import bind
from services.ingest import steps

aca_l0_file = bind("ingest.aca_l0_file", steps.aca_l0_file)
aca_packets = bind("ingest.aca_packets", steps.aca_packets)
eng_samples = bind("ingest.eng_samples", steps.eng_samples)
update_l0_store = bind("ingest.update_l0_store", steps.update_l0_store)
rebuild_l0_store = bind("ingest.rebuild_l0_store", steps.rebuild_l0_store)
unknown_file = bind("ingest.unknown_file", steps.unknown_file)
reconcile = bind("ingest.reconcile", steps.reconcile)
reindex_l0_file = bind("ingest.reindex_l0_file", steps.reindex_l0_file)
backup_ledger = bind("ingest.backup_ledger", steps.backup_ledger)
