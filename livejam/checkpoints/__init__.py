"""From a file to a player: reading, checks, lineage, published weights, import of others' checkpoints."""
