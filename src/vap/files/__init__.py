"""What is on disk: names and folders of models, checked components, safetensors, atomic writes."""
