"""Trimming changelogs: records that no verified snapshot, copy or restore needs are deleted.

`facts` is what was seen, `floors` is how far a trim may go and who holds it back (pure), `world`
looks and deletes, `survey` and `kind` make a plan of it, `steps` carry the plan out.
"""
