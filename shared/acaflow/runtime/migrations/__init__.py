"""Schema changes of the ledger, run by ``acaflow db upgrade`` (Alembic, no ini file)."""
