"""The local miners of a workspace: started, watched and stopped, as processes, containers or services."""
