"""What cogwork keeps on disk: checkpoints, and the specs that runs began with."""
