"""Founding, joining and succeeding networks: workspaces that begin. Nothing here talks to anybody."""
