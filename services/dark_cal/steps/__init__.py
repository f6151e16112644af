"""From raw dumps to the published calibration; each step may run twice and finds its work done.

In the order of a file: `arrive`, `ready` (gate and decode), `assemble`, `publish` (report, index,
import). Steps know nothing of each other but the files in `DarkTree`: what is there decides.
"""
