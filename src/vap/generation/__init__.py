"""From a request to a video and its record, the same for every way of asking."""
