"""What a change touches, and how a build server is told. The verb itself is grader.cli.ci."""
