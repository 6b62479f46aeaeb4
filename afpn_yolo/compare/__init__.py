"""Train necks under equal conditions and compare them.

`plan` names necks, runs and their conditions; `yolo` trains and evaluates a run; `runner` does all
runs of a comparison and stores them; `results` makes table, verdict, page and charts.
"""
