"""Songs of many kinds, composed by rules, with a living tempo: the second composer, for models that meet the world."""
