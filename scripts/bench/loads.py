"""What pgbench does, and in which mode of pooling."""

LOADS = {
    "simple": ("transaction", "-S -M simple"),
    "extended": ("transaction", "-S -M extended"),
    "prepared, session mode": ("session", "-S -M prepared"),
    "prepared, transaction mode": ("transaction", "-S -M prepared"),
    "connect for each": ("transaction", "-S -M simple -C"),
}


def of(bench, kind, name):
    """Mode and arguments of a load for a pooler.

    A PgBouncer without prepared statements is measured by what its users have
    instead.
    """
    mode, arguments = LOADS[name]
    if kind == "pgbouncer" and mode == "transaction" and not bench.pgbouncer_prepares:
        arguments = arguments.replace("prepared", "simple")
    return mode, arguments


def remark(bench):
    """What a reader has to know of the prepared load."""
    if bench.pgbouncer_prepares:
        return "Both have max_prepared_statements = 200."
    return "This PgBouncer has no prepared statements in transaction mode: there it has the simple load instead."
