"""What meets a terminal: the parser of the command line, and progress bars."""
