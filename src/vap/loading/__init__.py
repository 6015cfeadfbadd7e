"""From a name to a placed pipeline: plan its memory, load, merge adapters, place."""
