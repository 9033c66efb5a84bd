"""What there is to grade: exercises, their oracles, submissions, an instructor's secret cases."""
