"""Operations that an operator requests for single tiles and pods."""
