"""The history of ownership: recorded in SQL, compared with the living terms, and queried."""
