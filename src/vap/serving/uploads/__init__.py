"""Files of clients: streamed, checked in a process of their own, known by ids."""
