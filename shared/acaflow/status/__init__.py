"""What pages and commands say of the ledger; reads only, sends and changes nothing.

`reading` has the lists and counts, and the names that readers use; `details` one job or event;
`overview` the first page; `because` the sentence that says why a job is where it is; `rows` the
records.
"""
