"""optuna-dashboard with notes, artifacts and guards."""
