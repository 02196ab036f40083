"""pocket-Slakh: songs composed by rules and rendered into Slakh2100's on-disk format."""
