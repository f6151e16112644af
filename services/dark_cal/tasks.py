"""Which step does which task of queue ``dark_cal``; `acaflow.runtime.messages` has the routing."""

from acaflow.runtime.runs import bind
from services.dark_cal.steps import arrive, assemble, publish, ready

receive_replica = bind("dark_cal.receive_replica", arrive.receive_replica)
receive_info = bind("dark_cal.receive_info", arrive.receive_info)
set_info = bind("dark_cal.set_info", arrive.set_info)
gate = bind("dark_cal.gate", ready.gate)
decode = bind("dark_cal.decode", ready.decode)
assemble_ = bind("dark_cal.assemble", assemble.assemble)
process = bind("dark_cal.process", assemble.process)
recheck = bind("dark_cal.recheck", assemble.recheck)
report = bind("dark_cal.report", publish.report)
update_index = bind("dark_cal.update_index", publish.update_index)
import_folder = bind("dark_cal.import_folder", publish.import_folder)
