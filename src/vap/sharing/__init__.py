"""Experts, LoRA and effects as repositories of the Hub."""
