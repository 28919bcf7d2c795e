"""Learning features from unlabelled video: clips, losses, checkpoints and the trainer."""
