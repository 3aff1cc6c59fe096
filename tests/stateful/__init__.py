"""The whole product against a plain model of it, step by step, in any order."""
