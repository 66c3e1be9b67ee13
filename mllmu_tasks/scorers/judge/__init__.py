"""The factuality judge: generation answers that lmms-eval has logged, scored 1 to 10 by a language model.

Any server that speaks OpenAI's chat completions will do. The model under test is not needed.
"""
