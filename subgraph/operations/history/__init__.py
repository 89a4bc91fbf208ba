"""Who owned which tile and when: recorded in SQL, compared with what lives, and read."""
