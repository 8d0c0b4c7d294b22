"""Pure statistics on small values: no store, no clock, no input or output."""
