"""Print "PASSED FAILED SKIPPED" of a JUnit XML file; nothing without one, as after a crash."""

import sys
from pathlib import Path
from xml.etree import ElementTree

path = Path(sys.argv[1])
if path.exists():
    passed = failed = skipped = 0
    for case in ElementTree.parse(path).iter("testcase"):
        outcomes = {child.tag for child in case}
        if outcomes & {"failure", "error"}:
            failed += 1
        elif "skipped" in outcomes:
            skipped += 1
        else:
            passed += 1
    print(passed, failed, skipped)
