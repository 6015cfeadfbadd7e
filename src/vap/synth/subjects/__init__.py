"""Subjects: drawn things and creatures in any colour, and cut-outs of photographs."""
