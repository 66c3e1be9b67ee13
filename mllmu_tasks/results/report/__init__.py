"""Study and training runs -> a folder with index.html, report.md and figures.

gather (what there is, and what is wrong with it) -> scores, examples, provenance -> figures -> html, markdown -> write.
"""
