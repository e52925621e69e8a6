"""What a user has asked for, counted."""
