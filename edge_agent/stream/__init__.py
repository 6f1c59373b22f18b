"""The stream filter: which of the patches a camera sees are worth sending. Pure: no clock, no I/O, no log."""
