"""What generated kernels call while they run: the scheduler, the barriers, the checks of memory."""
