"""The commands of `study`, a folder for each group of the help.

The module of a command is imported when the command runs.
"""

GROUPS = {
    "Before a search": {
        "before.checks": {
            "config": "Print the resolved configuration.",
            "sanity": "Check data, network, training step and checkpoint.",
            "lr-range": "Train some steps at rising learning rates and suggest one.",
        },
        "before.data": {
            "data": "Decode the images, describe them and write a report.",
            "baselines": "Measure guesses and cheap learners on the validation images.",
        },
    },
    "Search": {
        "search.studies": {
            "run": "Create a study if needed; run local workers until it is done.",
            "init": "Create a study: prepare data, store protocol, queue budget.",
            "worker": "Join a study and work until nothing waits and nothing runs.",
            "extend": "Add so many --trials to the budget of a study.",
            "enqueue": "Queue known hyperparameters before all that are sampled.",
            "fork": "Copy a study with changes; import its trials where they fit.",
            "slurm-script": "Print a batch script that runs workers as Slurm tasks.",
        },
        "search.grids": {
            "sweep": "Train learning rates by weight decays; draw a heat map.",
            "grid": "Train every combination of --axis, or the configured points.",
            "compare": "Change one thing at a time; say which differences are clear.",
        },
    },
    "Watch": {
        "watch.monitor": {
            "status": "Show how far a study is, who works on it, when it is done.",
            "metrics": "Serve metrics for Prometheus: of all studies, or of --name.",
        },
        "watch.show": {
            "trials": "List the best hundred trials of a study; with --json all.",
            "best": "Show the best complete trial of a study so far.",
            "report": "Write the report: one HTML file, and a summary in Markdown.",
        },
        "watch.side_by_side": {
            "compare-studies": "Set studies side by side: results, cost, configuration.",
        },
        "watch.serve": {
            "dashboard": "Serve optuna-dashboard, read-only unless --writable.",
            "tensorboard": "Serve TensorBoard on the runs of the study.",
        },
    },
    "Train the winner, use the model": {
        "winner.confirm": {
            "confirm": "Test with fresh seeds and images whether the winner holds up.",
        },
        "winner.final": {
            "final": "Train the winner for long, then test it, once.",
            "evaluate": "Evaluate a best.pt on the validation split.",
            "export": "Write the model folder of the final run, or of a TRIAL.",
        },
        "winner.predict": {
            "predict": "Predict the classes of files, folders and patterns.",
        },
        "winner.replay": {
            "replay": "Train a trial anew from its record; compare every epoch.",
        },
    },
    "Keep and repair": {
        "keep.database": {
            "list": "List all studies: state, best value, size on disk.",
            "delete": "Delete a study: its rows, its run folder, or both.",
            "doctor": "Report problems left by crashes; --repair repairs them.",
        },
        "keep.export_trials": {
            "export-trials": "Write trials and epochs as Parquet or CSV, or to MLflow.",
        },
    },
}
"""Help of each command, by module, by what people do."""
HELP = {
    name: text
    for modules in GROUPS.values()
    for helps in modules.values()
    for name, text in helps.items()
}
MODULES = {
    name: module
    for modules in GROUPS.values()
    for module, helps in modules.items()
    for name in helps
}
