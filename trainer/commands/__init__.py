"""The commands of ``winnow trainer``; torch is imported only when a command needs it."""
