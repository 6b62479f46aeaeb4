"""Train necks under equal conditions and set them side by side.

`plan` says what is to be run, `records` keeps what has been run, `carry_out` trains and evaluates
one run, `report` makes the table of all, `figures` draws them.
"""
