"""What the players of a song do: each function turns the sheet into the notes of one stem."""
