"""Input and output of the terminal: the parser of the command line, printed lines and progress bars."""
