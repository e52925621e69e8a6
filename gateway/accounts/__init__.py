"""Users: signing up, logging in, and telling whose request it is."""
