"""The treatments of demand analysis, one file each; `logql.plan.demand.RULES` lists them in their order."""
