"""What can be set, and what is refused of it."""

from subgraph.settings.record import BadSetting, Settings, unknown_settings

__all__ = ["BadSetting", "Settings", "unknown_settings"]
