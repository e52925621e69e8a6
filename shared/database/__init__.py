"""All SQL: one file per table, and the pool that they run on."""
