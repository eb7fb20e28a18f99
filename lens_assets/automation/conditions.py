"""When an asset is requested without a person asking: it is stale in content, and nothing below it is in doubt.

https://docs.dagster.io/guides/automate/declarative-automation
"""

from __future__ import annotations

import dagster as dg


def stale_only() -> dg.AutomationCondition:
    """Request an asset once for each change that makes its content stale.

    A dependency counts as changed when its data version changed, not when it was merely materialised again, so an
    edited comment or an identical rebuild requests nothing. A failure buys exactly one more request. Nothing is
    requested while an input is missing, in progress, or has a blocking check that does not pass: conditions do not
    look at checks unless told to.
    """
    condition = dg.AutomationCondition
    changed = (
        condition.any_deps_match(condition.data_version_changed() | condition.will_be_requested())
        | condition.code_version_changed()
        | condition.newly_missing()
    )
    wanted = changed.since(condition.newly_requested() | condition.initial_evaluation())
    # A failure that has been answered stays answered until the content changes or the asset is made: a gate that
    # says NO-GO fails every time, and would be requested without end.
    failed_once = condition.execution_failed().newly_true().since(changed | condition.newly_updated())
    return (
        (wanted | failed_once.newly_true())
        & condition.all_deps_blocking_checks_passed()
        & ~condition.any_deps_missing()
        & ~condition.any_deps_in_progress()
        & ~condition.in_progress()
    )
