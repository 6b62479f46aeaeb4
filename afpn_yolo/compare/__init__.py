"""Train necks under equal conditions and compare them.

`plan` names necks, runs and their conditions; `yolo` trains and evaluates a run; `runner` does all
runs of a comparison and stores them; `significance` tells differences from chance, `verdict` puts
them in words; `results` makes table, page and charts.
"""
