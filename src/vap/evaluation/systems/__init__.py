"""What can be compared: local models, closed services, servers, folders of videos."""
