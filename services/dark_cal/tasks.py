"""Which step does which task of queue ``dark_cal``; `acaflow.runtime.messages` has the routing."""

from acaflow.runtime.runs import bind
from services.dark_cal import steps

receive_replica = bind("dark_cal.receive_replica", steps.receive_replica)
receive_info = bind("dark_cal.receive_info", steps.receive_info)
set_info = bind("dark_cal.set_info", steps.set_info)
gate = bind("dark_cal.gate", steps.gate)
decode = bind("dark_cal.decode", steps.decode)
assemble = bind("dark_cal.assemble", steps.assemble)
process = bind("dark_cal.process", steps.process)
report = bind("dark_cal.report", steps.report)
update_index = bind("dark_cal.update_index", steps.update_index)
recheck = bind("dark_cal.recheck", steps.recheck)
import_folder = bind("dark_cal.import_folder", steps.import_folder)
