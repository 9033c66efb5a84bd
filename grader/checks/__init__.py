"""One file per check. They never import each other: the pipeline hands on what one found to the next."""
