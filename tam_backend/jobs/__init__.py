"""Long work: named, kept in the database, claimed, run, tried again, cancelled."""
