"""What a run has to say: its summary, and how far it has come."""
