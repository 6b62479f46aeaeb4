"""How Ultralytics learns our layers: what this package changes in it, and no more.

What is only called of it is in `upstream`. Empty of imports: Python runs `startup` at every start.
"""
