"""The `livejam` command: the roof, which may import everything and which nothing imports."""
