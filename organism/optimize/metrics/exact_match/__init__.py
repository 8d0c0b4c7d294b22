"""The measure exact_match as a module for the evaluate library."""
