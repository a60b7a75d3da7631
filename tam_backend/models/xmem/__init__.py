"""XMem and its compact relative: masks on the following frames."""
