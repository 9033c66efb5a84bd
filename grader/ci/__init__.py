"""What a change touches, and how a build server learns the outcome. The verb itself is grader.cli.ci."""
