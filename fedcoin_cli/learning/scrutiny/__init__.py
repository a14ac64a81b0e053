"""What a round's updates look like before anybody is paid for them: numbers on weights alone, no model is run."""
