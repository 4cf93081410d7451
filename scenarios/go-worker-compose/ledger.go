package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ledger is one file of lines `customer,order,amount`, and what they say.
//
// A line counts once its end is there: what a crash left of the last one is cut off at the next start. An order that is
// entered is on the disk when enter returns.
type ledger struct {
	file    *os.File
	amounts map[string]map[string]int
}

func openLedger(folder string) (*ledger, error) {
	path := filepath.Join(folder, "ledger.csv")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	book := &ledger{file: file, amounts: map[string]map[string]int{}}
	if err := book.recover(path); err != nil {
		file.Close()
		return nil, err
	}
	return book, syncFolder(folder)
}

func (l *ledger) recover(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	whole := bytes.LastIndexByte(content, '\n') + 1
	if whole < len(content) {
		if err := l.file.Truncate(int64(whole)); err != nil {
			return err
		}
	}
	for _, line := range strings.Split(strings.TrimSuffix(string(content[:whole]), "\n"), "\n") {
		if customer, order, amount, err := parse(line); err == nil {
			l.remember(customer, order, amount)
		}
	}
	return l.file.Sync()
}

// enter writes an order down, once; false when it is there already.
func (l *ledger) enter(customer, order string, amount int) (bool, error) {
	if _, known := l.amounts[customer][order]; known {
		return false, nil
	}
	if _, err := fmt.Fprintf(l.file, "%s,%s,%d\n", customer, order, amount); err != nil {
		return false, err
	}
	if err := l.file.Sync(); err != nil {
		return false, err
	}
	l.remember(customer, order, amount)
	return true, nil
}

func (l *ledger) remember(customer, order string, amount int) {
	if l.amounts[customer] == nil {
		l.amounts[customer] = map[string]int{}
	}
	l.amounts[customer][order] = amount
}

func (l *ledger) close() { l.file.Close() }

// syncFolder makes the entry of a new file survive a power loss.
func syncFolder(folder string) error {
	directory, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer directory.Close()
	return directory.Sync()
}
