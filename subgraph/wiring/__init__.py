"""The wiring: which adapters stand behind which operations, and what runs in the background. Nothing else knows."""
