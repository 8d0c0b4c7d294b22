"""The measure written_share as a module for the evaluate library."""
