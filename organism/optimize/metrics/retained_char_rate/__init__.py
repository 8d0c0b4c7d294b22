"""The measure retained_char_rate as a module for the evaluate library."""
