"""Sessions, their journal and the fleet's incarnation in SQL."""
