# Copies deposits.txt line by line into the ledger that is named by its first argument. Started again after a crash, it
# goes on behind what it has. A line counts when it is whole and on disk; only then it is reported as kept.
ledger=$1

durable() {
    [ "$SYNC" = 0 ] || sync "$@"
}

# Only the last line can be torn, and a torn line was never reported: it goes.
touch "$ledger" || exit 1
durable "$(dirname "$ledger")"
lines=$(wc -l < "$ledger")
whole_bytes=$(head -n "$lines" "$ledger" | wc -c)
if [ "$(wc -c < "$ledger")" -gt "$whole_bytes" ]; then
    truncate -s "$whole_bytes" "$ledger" || exit 1
fi
# What was written before a crash may be in the file and not on disk yet.
durable "$ledger"
echo "found $lines"

tail -n "+$((lines + 1))" deposits.txt | while read -r number rest; do
    echo "$number $rest" >> "$ledger" || exit 1
    durable "$ledger"
    echo "kept $number"
done
