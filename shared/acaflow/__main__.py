"""``python -m acaflow``: the command line."""

from acaflow.cli import main

if __name__ == "__main__":
    main()
