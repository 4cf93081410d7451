"""Judges the ledger when everything has come to rest: each customer has paid what was sent, no more and no less."""

import os
from collections import Counter
from pathlib import Path


def expected() -> Counter[str]:
    """What the payer sent: payment n is n * 100 cents, the odd ones are those of alice."""
    totals: Counter[str] = Counter()
    for number in range(1, int(os.environ["PAYMENTS"]) + 1):
        totals["alice" if number % 2 else "bob"] += 100 * number
    return totals


def found() -> Counter[str]:
    """What the ledger says; a line that is no payment counts for nobody."""
    totals: Counter[str] = Counter()
    for line in Path(os.environ["WORKER_DATA_DIR"], "ledger.csv").read_text().splitlines():
        fields = line.split(",")
        if len(fields) == 3 and fields[2].isdigit():
            totals[fields[1]] += int(fields[2])
    return totals


def main() -> None:
    paid = found()
    for customer, cents in expected().items():
        verdict = "SUCCESS" if paid[customer] == cents else "FAILURE"
        print(f"{verdict} [{customer}] - Expected: {cents}, Found: {paid[customer]}")


if __name__ == "__main__":
    main()
