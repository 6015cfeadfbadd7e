"""What a generation costs: operations, time and memory, predicted for a device and a plan."""
