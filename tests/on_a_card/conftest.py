"""Whether these tests are collected, and why not: the only place that says so.

The card is a device of torch's, so other engines have none; and a process that has it has no other device, so what
runs on it, `inside/`, is collected in a process of its own, which test_on_a_card.py starts.
"""

from flowkit import backends

if backends.name() != "torch":
    collect_ignore_glob = ["*"]
else:
    import pretend_card

    if pretend_card.missing():
        collect_ignore_glob = ["*"]
    elif not pretend_card.installed():
        collect_ignore_glob = ["inside/*"]
