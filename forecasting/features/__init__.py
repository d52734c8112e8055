"""Features: of a day, of a plan, and of what an origin knows; and the arrays models fit on."""
