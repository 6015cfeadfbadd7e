"""``vap eval mini``: a small model against truths that can always be rendered.

VAP-Synth draws what a reference shows and what the target should have become. So a model is scored
against the truth itself, on subjects that nothing trained on, for conditions that its expert
trained on, that only its backbone trained on, and that nothing trained on.
"""
