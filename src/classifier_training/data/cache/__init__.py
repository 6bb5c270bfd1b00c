"""Decoded images kept on disk or in memory, shared by all processes; never the only copy of anything."""
