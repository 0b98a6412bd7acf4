"""What clients may ask for, one file a subject."""
