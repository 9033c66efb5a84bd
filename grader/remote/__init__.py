"""Grading on another machine, over SSH: `client` asks, `server` answers, `queue` says whose turn it is."""
