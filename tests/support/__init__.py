"""What several test modules share: builders of real files, and servers."""
