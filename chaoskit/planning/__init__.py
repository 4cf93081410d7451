"""Planning: pure functions from a seed and what a control run showed to a plan. No process, no clock, no file."""
