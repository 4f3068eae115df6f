"""Which of these tests are collected.

The card is a device of torch's, and a process that has it has no other device. So what runs on it, `inside/`, is
collected in a process of its own, which test_on_a_card.py starts, or says why it does not.
"""

import os

if "FLOWKIT_ON_A_CARD" not in os.environ:
    collect_ignore_glob = ["inside/*"]
