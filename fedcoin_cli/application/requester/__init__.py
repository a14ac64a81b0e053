"""Everybody who asks miners for something: tasks, payments, standings. No miner runs here."""
