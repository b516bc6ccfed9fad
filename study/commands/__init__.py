"""The commands of `study`, a module for each occasion; each is imported when its command runs."""

COMMANDS = {
    "studies": {
        "init": "Create a study: prepare the data, store the protocol, queue the whole budget.",
        "run": "Create the study if needed, run local workers until its budget is done.",
        "worker": "Join a study and work until nothing waits and nothing runs.",
        "extend": "Add so many --trials to the budget of a study.",
        "enqueue": "Queue hyperparameters before other trials: learning_rate=0.1 blocks=2-2-2.",
        "fork": "Copy the study of --name as NEW with changes; import its trials where they fit.",
        "doctor": "Report problems left by crashes; --repair repairs them, never others' data.",
        "slurm-script": "Print a batch script that runs workers as an array of Slurm tasks.",
    },
    "checks": {
        "sanity": "Check data, network, training step and checkpoint; fail when one is broken.",
        "lr-range": "Train a few steps at rising learning rates, and suggest one.",
    },
    "data": {
        "data": "Decode the images, if not done yet, describe them and write a report.",
        "baselines": "Measure guesses and two cheap learners on the validation images.",
    },
    "final": {
        "final": "Train the winner for long, then test it, once.",
        "evaluate": "Evaluate the best.pt of a trial or final run on the validation split.",
        "export": "Write the model folder of the final run, or of a TRIAL that kept its weights.",
    },
    "replay": {
        "replay": "Train a trial anew from its record; compare every epoch and the weights.",
    },
    "predict": {
        "predict": "Predict the classes of images: files, folders and patterns such as '*.jpg'.",
    },
    "grids": {
        "sweep": "Train learning rates by weight decays for a few epochs; draw a heat map.",
        "grid": "Train every combination of the --axis options, or of the configured points.",
        "compare": "Change one thing at a time around a configuration; show clear differences.",
    },
    "monitor": {
        "status": "Show how far a study is, who works on it, and when it may be done.",
        "metrics": "Serve metrics for Prometheus: of all studies of the database, or of --name.",
    },
    "show": {
        "config": "Print the resolved configuration.",
        "trials": "List the best hundred trials of a study; with --json all.",
        "best": "Show the best complete trial of a study so far.",
        "report": "Write the report of a study: one HTML file, and a summary in Markdown.",
    },
    "export_trials": {
        "export-trials": "Write a row for each trial and each epoch: Parquet, CSV or MLflow.",
    },
    "serve": {
        "dashboard": "Serve optuna-dashboard on all studies, read-only unless --writable.",
        "tensorboard": "Serve TensorBoard on the runs of the study.",
    },
}
"""Help of each command, by module."""
MODULES = {name: module for module, helps in COMMANDS.items() for name in helps}
HELP = {name: text for helps in COMMANDS.values() for name, text in helps.items()}
