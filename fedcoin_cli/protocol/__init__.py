"""What miners say to each other: messages and their frames, as bytes."""
