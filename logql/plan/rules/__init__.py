"""The treatments of demand analysis, one file each; `logql.plan.demand.RULES` lists them in the order in which they act."""
