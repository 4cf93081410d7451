# Judges the ledger (first argument) with what the program has reported (second argument): its exit code is the verdict,
# its last line the reason.
lost=$(awk '/^found/ && $2 < kept { print "kept: " kept ", found after a restart: " $2; exit } /^kept/ { kept = $2 }' "$2")
if [ -n "$lost" ]; then
    echo "$lost"
    exit 1
fi
if ! cmp -s deposits.txt "$1"; then
    echo "the ledger has $(grep -c . "$1") of $(grep -c . deposits.txt) deposits, or others: $(tr '\n' ';' < "$1")"
    exit 1
fi
echo "$(grep -c . "$1") deposits, none lost"
