"""Registered coverage of sessions: tiles are made from it, released at a stop, restored at a revival."""
