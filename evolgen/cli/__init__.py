"""The command line: arguments -> config -> one library call."""
