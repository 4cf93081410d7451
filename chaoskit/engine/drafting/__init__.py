"""Drafts of a scenario.yaml for `chaoskit init`: `reading` a Compose project, `guess`ing the parts, the `text`.

What cannot be guessed is left to be filled in, visibly. Nothing is asked and nothing is written here.
"""

from chaoskit.engine.drafting.draft import Draft, DraftProgram

__all__ = ["Draft", "DraftProgram"]
