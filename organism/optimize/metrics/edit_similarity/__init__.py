"""The measure edit_similarity as a module for the evaluate library."""
