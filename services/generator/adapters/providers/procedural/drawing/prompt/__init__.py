"""What a prompt asks to be drawn."""
