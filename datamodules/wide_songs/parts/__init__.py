"""What each player of a wide song writes."""
