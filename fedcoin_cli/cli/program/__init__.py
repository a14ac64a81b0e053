"""What all commands share: options, output, progress, interrupts, completion, manual pages."""
