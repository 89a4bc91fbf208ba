"""What operators do by hand to single tiles and pods."""
