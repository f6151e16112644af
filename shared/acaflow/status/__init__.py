"""What pages and commands say of the ledger; reads only, sends and changes nothing.

`reading` has the lists, details and counts; `because` the sentence that says why a job is where
it is; `rows` the records.
"""
