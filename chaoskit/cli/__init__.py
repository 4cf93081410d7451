"""The command line: parse, one call of the engine, render, exit code. One module a family of verbs."""
