"""What is graded: exercises, their oracles, submissions, an instructor's secret cases."""
