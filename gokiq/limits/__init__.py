"""Who may run how many at once: targets, rules, rates, guards, adaptive limits. No I/O."""
