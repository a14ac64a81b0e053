"""Runtime: how miners are started on a machine."""
