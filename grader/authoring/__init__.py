"""For authors of exercises: does an exercise keep its promises, and does the grader find every mistake?"""
