"""The HTML report: its page, its pictures."""
