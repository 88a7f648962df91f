"""Files of a run to a report, plots and model cards; reads nothing but the run folder."""
