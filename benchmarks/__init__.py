"""The cases of ``make bench``: ours beside a floor measured in the same run on the same bytes."""
